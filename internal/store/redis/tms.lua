#!lua name=tms1

-- The transitions of TMS, one atomic step each. internal/rules says the same in Go; the contract suite holds the two
-- together.
--
-- KEYS are the same for every function, in this order:
--   1 pool         hash: policy (JSON), epoch, fence, run_id, master_replid, adopted_at, metadata ("1" once a token
--                  brought some), released, quarantined, deleted. A pool without a policy is being deleted.
--   2 available    sorted set: token -> its last sign of life
--   3 assigned     sorted set: token -> the end of its lease
--   4 cooling      sorted set: token -> when it is ready
--   5 quarantined  sorted set: token -> since when
--   6 seen         sorted set: cooling token -> its last sign of life
--   7 lease        prefix of strings: lease:<token> is "lease_id fence assigned_at seen ttl client_id", of an assigned
--                  token, with a TTL that is only a backstop: the sorted sets are the truth about time
--   8 token        prefix of strings: token:<token> is the metadata of a token that has some
--
-- ARGV[1] is the instant of the step in ms, or "" for the server's own clock. Instants and durations are ms everywhere.
-- A function answers with a string if it refused: pool_not_found, or what its header says; otherwise with an array
-- whose first element is the instant of the step. A token stands in an answer as {state, till, record, metadata}: state
-- is 1 to 4 in the order of the sets above; till is the score in that set; record is the lease string of an assigned
-- token, otherwise the last sign of life; metadata is "" where there is none.

-- While the library is loaded there are no globals; the first call binds these.
local call, format, match, floor, huge, max, min, random, ipairs, pairs, tonumber, unpack

local function bind()
  local g = _G
  call, format, match = redis.call, string.format, string.match
  floor, huge, max, min, random = math.floor, math.huge, math.max, math.min, math.random
  ipairs, pairs, tonumber, unpack = g.ipairs, g.pairs, g.tonumber, g.unpack
end

local AVAILABLE, ASSIGNED, COOLING, QUARANTINED = 1, 2, 3, 4
local SEEN = 5 -- not a state: the set beside cooling
local SEARCH = {ASSIGNED, AVAILABLE, COOLING, QUARANTINED}
local STEP = 1000 -- most tokens that one step touches beyond those it was asked for
local BACKSTOP = 10 * 60 * 1000
local NO_POOL = 'pool_not_found'

-- What lives as long as the library in this server process. It is neither stored nor replicated.
local adopted = {} -- pool key -> the epoch in which this process serves it
local highest = 0 -- the greatest fence of the pools that were deleted here
local latest = {} -- pool key -> the instant of the last step
local parsed, parsings = {}, 0 -- policies by their text

-- What the present call works with. Functions run one at a time.
local keys, now, policy, described
local released, quarantined, deleted

local function set(state) return keys[state + 1] end

local function clock()
  local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000)
end

-- Sets the instant of the step, never a little earlier than that of the step before: a clock may be set back a little,
-- and calls that carry their instant may overtake each other. When it goes back by much, it was wrong before.
local SLACK = 60 * 1000

local function tick(instant)
  now = instant == '' and clock() or tonumber(instant)
  local last = latest[keys[1]]
  if last and now < last and last - now < SLACK then now = last end
  latest[keys[1]] = now
end

local function parse(text)
  if parsings == 1000 then parsed, parsings = {}, 0 end
  local p = cjson.decode(text)
  p.clock = p.token_ttl_ms > 0 and p.token_ttl_ms or huge
  parsed[text], parsings = p, parsings + 1
  return p
end

---------------------------------------------------------------------------------------------------------- fence and epoch

local function identity()
  return match(call('INFO', 'server'), 'run_id:(%w+)'), match(call('INFO', 'replication'), 'master_replid:(%w+)')
end

-- A fence is epoch * 2^32 + counter. The first fence of a pool follows the clock, so that the fences of a pool that is
-- deleted and made again rise although nothing of it was left: the epoch counts 10-minute units since 2026, the counter
-- begins at 4096 for each ms within the unit, which is faster than fences can be issued. The clock stops counting after
-- half of the 2^21 epochs that keep a fence below 2^53.
local UNIT, START, LAST = 600000, 1767225600000, 600000 * 2 ^ 20

local function firstFence()
  local age = max(0, min(now - START, LAST))
  return max(highest, floor(age / UNIT) * 2 ^ 32 + age % UNIT * 4096)
end

local function take_over(epoch, fence)
  local run, replid = identity()
  local text = format('%.0f', epoch)
  call('HSET', keys[1], 'epoch', text, 'fence', format('%.0f', fence), 'run_id', run, 'master_replid', replid,
    'adopted_at', now)
  adopted[keys[1]] = text
end

-- This process has not served the pool in this epoch: either the library was loaded again, or another server process
-- has, and perhaps issued fences that this one never heard of. Then a new epoch begins, above all of them.
local function adopt(epoch)
  local run, replid = identity()
  local stored = call('HMGET', keys[1], 'run_id', 'master_replid', 'fence')
  if stored[1] == run and stored[2] == replid then
    adopted[keys[1]] = epoch
    return
  end
  local reached = max(tonumber(epoch), floor(tonumber(stored[3]) / 2 ^ 32))
  take_over(reached + 1, (reached + 1) * 2 ^ 32)
end

-- Begins a step. Returns false if there is no such pool.
local function open(k, instant)
  keys = k
  released, quarantined, deleted = 0, 0, 0
  local pool = call('HMGET', k[1], 'policy', 'epoch', 'metadata')
  if not pool[1] then return false end
  tick(instant)
  policy = parsed[pool[1]] or parse(pool[1])
  described = pool[3]
  if adopted[k[1]] ~= pool[2] then adopt(pool[2]) end
  return true
end

-- Adds the expiries of this step to the pool's counters.
local function tally()
  if released > 0 then call('HINCRBY', keys[1], 'released', released) end
  if quarantined > 0 then call('HINCRBY', keys[1], 'quarantined', quarantined) end
  if deleted > 0 then call('HINCRBY', keys[1], 'deleted', deleted) end
end

---------------------------------------------------------------------------------------------------------------- records
-- A record is a token as this step sees it: state (nil: deleted), was (its state in Redis), score (there), till, seen,
-- and of a lease id, fence, at, ttl, client and the string of them all, text. touched: what lies beside the set changed.

local function record(token, state, score)
  return {token = token, was = state, state = state, score = score, till = score, seen = score}
end

-- Returns the records of those of the tokens that exist, by token.
local function find(tokens)
  local found, missing = {}, tokens
  for _, state in ipairs(SEARCH) do
    local scores, rest = call('ZMSCORE', set(state), unpack(missing)), {}
    for i, token in ipairs(missing) do
      if scores[i] then
        found[token] = record(token, state, tonumber(scores[i]))
      else
        rest[#rest + 1] = token
      end
    end
    if #rest == 0 then break end
    missing = rest
  end
  return found
end

-- A lease string that Redis removed, since nobody came by for longer than the backstop: the last sign of life is
-- forgotten with it.
local function forgotten(r)
  r.id, r.fence, r.at, r.ttl, r.client = '-', '0', r.till, policy.lease_ttl_ms, ''
  r.text = '- 0 ' .. r.till .. ' ' .. r.till .. ' ' .. r.ttl .. ' '
end

local function readLease(r, text)
  if not text then return forgotten(r) end
  local id, fence, at, seen, ttl, client = match(text, '^(%S+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  r.text, r.id, r.fence, r.client = text, id, fence, client
  r.at, r.seen, r.ttl = tonumber(at), tonumber(seen), tonumber(ttl)
end

-- Reads what lies beside the sets.
local function read(records)
  local held, leases, resting, tokens = {}, {}, {}, {}
  for _, r in pairs(records) do
    if r.was == ASSIGNED then
      held[#held + 1], leases[#leases + 1] = r, keys[7] .. r.token
    elseif r.was == COOLING then
      resting[#resting + 1], tokens[#tokens + 1] = r, r.token
    end
  end
  if #held > 0 then
    local texts = call('MGET', unpack(leases))
    for i, r in ipairs(held) do readLease(r, texts[i]) end
  end
  if #resting > 0 then
    local scores = call('ZMSCORE', set(SEEN), unpack(tokens))
    for i, r in ipairs(resting) do r.seen = tonumber(scores[i] or r.till) end
  end
end

local function leaseText(r)
  return r.id .. ' ' .. r.fence .. ' ' .. r.at .. ' ' .. r.seen .. ' ' .. r.ttl .. ' ' .. r.client
end

local function backstop(till, seen)
  local over = till + policy.grace_ms
  if policy.clock < huge then over = max(over, seen + policy.clock) end
  return over - now + BACKSTOP
end

local function push(lists, at, a, b)
  local list = lists[at]
  if not list then
    list = {}
    lists[at] = list
  end
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

-- Notes that the record leaves the set it was in.
local function leave(r, removed, strings)
  if not r.was then return end
  push(removed, r.was, r.token)
  if r.was == COOLING then push(removed, SEEN, r.token) end
  if r.was == ASSIGNED then strings[#strings + 1] = keys[7] .. r.token end
  if not r.state and described then strings[#strings + 1] = keys[8] .. r.token end
end

-- Notes where the record now stands, and writes the lease.
local function arrive(r, added)
  local score = r.state == AVAILABLE and r.seen or r.till
  if r.state ~= r.was or score ~= r.score then push(added, r.state, score, r.token) end
  if r.state == COOLING and r.touched then push(added, SEEN, r.seen, r.token) end
  if r.state == ASSIGNED and r.touched then
    call('SET', keys[7] .. r.token, r.text, 'PX', backstop(r.till, r.seen))
  end
  r.score = score
end

-- Writes what has changed of at most STEP records.
local function save(records)
  local removed, added, strings = {}, {}, {}
  for _, r in pairs(records) do
    if r.state ~= r.was then leave(r, removed, strings) end
    if r.state then arrive(r, added) end
    r.was, r.touched = r.state, nil
  end
  for state, tokens in pairs(removed) do call('ZREM', set(state), unpack(tokens)) end
  for state, scored in pairs(added) do call('ZADD', set(state), unpack(scored)) end
  if #strings > 0 then call('DEL', unpack(strings)) end
end

-- Reads the metadata of living records.
local function describe(records)
  if not described then return end
  local living, names = {}, {}
  for _, r in pairs(records) do
    if r.state then living[#living + 1], names[#names + 1] = r, keys[8] .. r.token end
  end
  if #living == 0 then return end
  local texts = call('MGET', unpack(names))
  for i, r in ipairs(living) do r.metadata = texts[i] end
end

local function answer(r)
  return {r.state, r.till, r.state == ASSIGNED and r.text or r.seen, r.metadata or ''}
end

-------------------------------------------------------------------------------------------------------------- deadlines

local function tokenClock(r) return r.seen + policy.clock end

local function due(r)
  if r.state == AVAILABLE then return tokenClock(r) end
  if r.state == ASSIGNED then return r.till + policy.grace_ms end
  if r.state == COOLING then return min(r.till, tokenClock(r)) end
  return huge
end

local function giveBack(r, at)
  r.touched = true
  if policy.cooldown_ms > 0 then
    r.state, r.till = COOLING, at + policy.cooldown_ms
  else
    r.state = AVAILABLE
  end
end

local function endLease(r)
  local over = r.till + policy.grace_ms
  if policy.on_lease_expiry == 'quarantine' then
    quarantined = quarantined + 1
    r.state, r.till = QUARANTINED, over
  elseif policy.on_lease_expiry == 'delete' or over > tokenClock(r) then
    deleted = deleted + 1
    r.state = nil
  else
    released = released + 1
    giveBack(r, over)
  end
end

-- Carries out every deadline of the record that has passed, one after the other, each at its own instant.
local function settle(r)
  while r.state and now > due(r) do
    if r.state == ASSIGNED then
      endLease(r)
    elseif r.state == COOLING and r.till < tokenClock(r) then
      r.state = AVAILABLE
    else
      deleted = deleted + 1
      r.state = nil
    end
  end
end

local function settleAll(records)
  read(records)
  for _, r in pairs(records) do settle(r) end
end

-- Appends at most limit records of a set whose score lies before an instant.
local function overdue(records, state, before, limit)
  if limit <= 0 then return end
  local found = call('ZRANGEBYSCORE', set(state), '-inf', '(' .. before, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #found, 2 do records[#records + 1] = record(found[i], state, tonumber(found[i + 1])) end
end

-- Appends at most limit records of cooling tokens whose token clock has run out.
local function overdueResting(records, limit)
  if limit <= 0 then return end
  local found = call('ZRANGEBYSCORE', set(SEEN), '-inf', '(' .. now - policy.clock, 'LIMIT', 0, limit)
  if #found == 0 then return end
  local scores = call('ZMSCORE', set(COOLING), unpack(found))
  for i, token in ipairs(found) do records[#records + 1] = record(token, COOLING, tonumber(scores[i])) end
end

-- Carries out at most limit ends of leases and cooldowns. Returns how many.
local function comeBack(limit)
  local records = {}
  overdue(records, ASSIGNED, now - policy.grace_ms, limit)
  overdue(records, COOLING, now, limit - #records)
  if #records == 0 then return 0 end
  settleAll(records)
  save(records)
  return #records
end

-- Carries out at most limit deaths of tokens that nobody holds. Returns how many.
local function die(limit)
  if policy.clock == huge then return 0 end
  local records = {}
  overdue(records, AVAILABLE, now - policy.clock, limit)
  overdueResting(records, limit - #records)
  if #records == 0 then return 0 end
  settleAll(records)
  save(records)
  return #records
end

-- Carries out at most limit expiries, and returns how many.
local function sweep(limit)
  local done = comeBack(limit)
  return done + die(limit - done)
end

local function firstScore(state)
  local first = call('ZRANGE', set(state), 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or huge
end

-- Returns when the next lease ends or cooldown is over.
local function nextReturn() return min(firstScore(ASSIGNED) + policy.grace_ms, firstScore(COOLING)) end

local function nextDeadline()
  local next = nextReturn()
  if policy.clock == huge then return next end
  return min(next, firstScore(AVAILABLE) + policy.clock, firstScore(SEEN) + policy.clock)
end

-- Returns an instant, or -1 for never.
local function instant(at) return at < huge and at or -1 end

------------------------------------------------------------------------------------------------------------------ pools

-- tms1_put_pool makes a pool or changes its policy.
-- ARGV: now, the default policy, the change: both JSON.
-- Answer: {now, policy}, or "deleting" while the pool of that name is being deleted.
local function put_pool(k, args)
  keys = k
  local pool = call('HMGET', k[1], 'policy', 'epoch')
  if pool[2] and not pool[1] then return 'deleting' end
  tick(args[1])
  local p = cjson.decode(pool[1] or args[2])
  for name, value in pairs(cjson.decode(args[3])) do p[name] = value end
  local text = cjson.encode(p)
  if not pool[1] then
    local fence = firstFence()
    take_over(floor(fence / 2 ^ 32), fence)
  end
  call('HSET', k[1], 'policy', text)
  return {now, text}
end

-- tms1_pool returns a pool and the sizes of its sets, after at most 1,000 expiries that were due.
-- ARGV: now.
-- Answer: {now, policy, available, assigned, cooling, quarantined, released, quarantined, deleted}; the last three are
-- what has expired since the pool was made.
local function pool(k, args)
  if not open(k, args[1]) then return NO_POOL end
  sweep(STEP)
  tally()
  local h = call('HMGET', k[1], 'policy', 'released', 'quarantined', 'deleted')
  return {now, h[1], call('ZCARD', k[2]), call('ZCARD', k[3]), call('ZCARD', k[4]), call('ZCARD', k[5]),
    h[2] or '0', h[3] or '0', h[4] or '0'}
end

-- tms1_delete_pool takes the pool away from everybody. Its tokens are left to tms1_purge.
-- ARGV: now.
-- Answer: {now}.
local function delete_pool(k, args)
  if not open(k, args[1]) then return NO_POOL end
  call('HDEL', k[1], 'policy')
  return {now}
end

local function pop(state, limit)
  local popped, tokens, strings = call('ZPOPMIN', set(state), limit), {}, {}
  for i = 1, #popped, 2 do
    tokens[#tokens + 1] = popped[i]
    if state == ASSIGNED then strings[#strings + 1] = keys[7] .. popped[i] end
    if described then strings[#strings + 1] = keys[8] .. popped[i] end
  end
  if #strings > 0 then call('DEL', unpack(strings)) end
  if state == COOLING and #tokens > 0 then call('ZREM', set(SEEN), unpack(tokens)) end
  return #tokens
end

-- tms1_purge removes at most 1,000 tokens of a pool that is being deleted, and with the last one the pool.
-- ARGV: now.
-- Answer: {now, 1 if it has to be called again}. It does nothing to a pool that is not being deleted.
local function purge(k, args)
  keys, now = k, 0
  local stored = call('HMGET', k[1], 'policy', 'metadata', 'fence')
  if stored[1] or not stored[3] then return {now, 0} end
  described = stored[2]
  local left = STEP
  for state = AVAILABLE, QUARANTINED do
    if left > 0 then left = left - pop(state, left) end
  end
  if left == 0 then return {now, 1} end
  call('DEL', k[1])
  highest = max(highest, tonumber(stored[3]))
  adopted[k[1]], latest[k[1]] = nil, nil
  return {now, 0}
end

--------------------------------------------------------------------------------------------------------------- generate

local function room()
  return policy.max_tokens - call('ZCARD', keys[2]) - call('ZCARD', keys[3]) - call('ZCARD', keys[4])
    - call('ZCARD', keys[5])
end

-- Returns ARGV's tokens without repetitions, in lists of at most STEP.
local function distinct(args, stride)
  local known, lists, list = {}, {}, nil
  for i = 3, #args, stride do
    if not known[args[i]] then
      if not list or #list == STEP then
        list = {}
        lists[#lists + 1] = list
      end
      known[args[i]] = i
      list[#list + 1] = args[i]
    end
  end
  return lists, known
end

-- Writes the metadata of new tokens: at says where a token stands in ARGV.
local function remember(args, at, tokens)
  local strings = {}
  for _, token in ipairs(tokens) do
    local text = args[at[token] + 1]
    if text ~= '' then
      strings[#strings + 1] = keys[8] .. token
      strings[#strings + 1] = text
    end
  end
  if #strings == 0 then return end
  call('MSET', unpack(strings))
  if not described then call('HSET', keys[1], 'metadata', '1') end
  described = '1'
end

local function create(tokens)
  local scored = {}
  for i, token in ipairs(tokens) do scored[2 * i - 1], scored[2 * i] = now, token end
  if #tokens > 0 then call('ZADD', keys[2], unpack(scored)) end
end

local function touch(r)
  if r.state == QUARANTINED then return end
  r.seen, r.touched = now, true
  if r.state == ASSIGNED then r.text = leaseText(r) end
end

-- Settles the tokens of one list and splits them into new ones and records of those that live.
local function split(tokens)
  local found, new, living = find(tokens), {}, {}
  settleAll(found)
  save(found)
  for _, token in ipairs(tokens) do
    local r = found[token]
    if r and r.state then living[#living + 1] = r else new[#new + 1] = token end
  end
  return {new = new, living = living}
end

-- tms1_generate puts tokens into the pool, all or none; of those that exist it winds the token clock.
-- ARGV: now, 1 if metadata is given or "", the tokens; with metadata, each token is followed by its own or "".
-- Answer: {now, token_ttl, created}; "again" if tokens of a full pool are due to expire, of which it expired some;
-- "pool_full".
local function generate(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local lists, at = distinct(args, args[2] == '' and 1 or 2)
  local parts, created = {}, 0
  for i, list in ipairs(lists) do
    parts[i] = split(list)
    created = created + #parts[i].new
  end
  if created > 0 and created > room() then
    local swept = sweep(STEP)
    tally()
    return swept > 0 and 'again' or 'pool_full'
  end
  for _, part in ipairs(parts) do
    create(part.new)
    if args[2] ~= '' then remember(args, at, part.new) end
    for _, r in ipairs(part.living) do touch(r) end
    save(part.living)
  end
  tally()
  return {now, policy.token_ttl_ms, created}
end

----------------------------------------------------------------------------------------------------------------- assign

-- Removes n random elements from the list and returns them.
local function draw(list, n)
  local drawn = {}
  for i = 1, min(n, #list) do
    local at = random(i, #list)
    list[i], list[at] = list[at], list[i]
    drawn[i] = list[i]
  end
  return drawn
end

-- Returns at most n living available tokens at random, where some that are dead stand in the set: they have the first
-- ranks. Few are drawn by their rank; of not many more than n all are read.
local function drawLiving(from, n)
  local dead, size = call('ZCOUNT', keys[2], '-inf', '(' .. from), call('ZCARD', keys[2])
  if size - dead <= 2 * n then return draw(call('ZRANGE', keys[2], dead, -1), n) end
  local drawn, taken = {}, {}
  while #drawn < n do
    local rank = random(dead, size - 1)
    if not taken[rank] then
      taken[rank] = true
      drawn[#drawn + 1] = call('ZRANGE', keys[2], rank, rank)[1]
    end
  end
  return drawn
end

-- Returns at most n available tokens at random. Most pools hold none that is dead, so that they are looked for only when
-- one was drawn.
local function drawAny(from, n)
  local found, tokens = call('ZRANDMEMBER', keys[2], n, 'WITHSCORES'), {}
  for i = 1, #found, 2 do
    if tonumber(found[i + 1]) < from then return drawLiving(from, n) end
    tokens[#tokens + 1] = found[i]
  end
  return tokens
end

-- Returns at most n living available tokens in the order of the pool's selection.
local function candidates(n)
  local from = now - policy.clock
  if policy.selection == 'fifo' then return call('ZRANGEBYSCORE', keys[2], from, '+inf', 'LIMIT', 0, n) end
  if policy.selection == 'lifo' then return call('ZREVRANGEBYSCORE', keys[2], '+inf', from, 'LIMIT', 0, n) end
  return drawAny(from, n)
end

-- Returns n candidates, or fewer if there are no more. It carries out returns that are due: a few in any case, more
-- while candidates are missing. Returns nil if it stopped because it touched enough.
local function gather(n)
  local limit = min(n + 10, STEP)
  local touched = comeBack(limit)
  local last = touched
  local tokens = candidates(n)
  while #tokens < n and last == limit do
    if touched >= STEP then return nil end
    limit = STEP
    last = comeBack(limit)
    touched = touched + last
    tokens = candidates(n)
  end
  return tokens
end

-- The lock of an available token is held, which nothing here explains. The token rests until the lock is gone.
local function park(token)
  local seen = call('ZSCORE', keys[2], token)
  local left = max(0, call('PTTL', keys[7] .. token))
  call('ZREM', keys[2], token)
  call('ZADD', keys[4], now + left, token)
  call('ZADD', keys[6], seen, token)
end

-- The leases that one assign grants.
local grant

local function begin(tokens)
  grant = {tokens = tokens, used = 0, scored = {}, leases = {}, fence = 0}
  if #tokens > 0 then grant.fence = call('HINCRBY', keys[1], 'fence', #tokens) - #tokens end
end

-- Leases the next candidate until till. Returns the lease string, or nil if the token's lock is held.
local function lease(id, ttl, client)
  local token, used = grant.tokens[grant.used + 1], grant.used + 1
  local text = id .. ' ' .. format('%.0f', grant.fence + used) .. ' ' .. now .. ' ' .. now .. ' ' .. ttl .. ' ' .. client
  if not call('SET', keys[7] .. token, text, 'NX', 'PX', backstop(now + ttl, now)) then return nil, token end
  grant.used, grant.leases[used] = used, keys[7] .. token
  grant.scored[2 * used - 1], grant.scored[2 * used] = now + ttl, token
  return text, token
end

local function undo()
  if grant.used > 0 then call('DEL', unpack(grant.leases)) end
end

local function commit()
  if grant.used == 0 then return end
  call('ZREM', keys[2], unpack(grant.tokens, 1, grant.used))
  call('ZADD', keys[3], unpack(grant.scored))
end

local function leaseTime(asked)
  local ttl = asked == '' and policy.lease_ttl_ms or tonumber(asked)
  return policy.max_lease_ms > 0 and min(ttl, policy.max_lease_ms) or ttl
end

-- Answers the request at ARGV[i]: the number of available tokens if it is refused, or its leases. Returns nil and a
-- token if that one's lock is held.
local function grantRequest(args, i)
  local count, ttl = tonumber(args[i + 2]), leaseTime(args[i + 1])
  local left = #grant.tokens - grant.used
  if left < count then return left end
  local result = {}
  for n = 1, count do
    local text, token = lease(args[i + 2 + n], ttl, args[i])
    if not text then return nil, token end
    result[4 * n - 3], result[4 * n - 2], result[4 * n - 1], result[4 * n] = token, now + ttl, text, ''
  end
  return result
end

-- Puts the metadata of the leased tokens into the results.
local function describeGrants(results, from)
  if not described or grant.used == 0 then return end
  local names = {}
  for n = 1, grant.used do names[n] = keys[8] .. grant.tokens[n] end
  local texts, n = call('MGET', unpack(names)), 0
  for i = from, #results do
    for at = 4, type(results[i]) == 'table' and #results[i] or 0, 4 do
      n = n + 1
      results[i][at] = texts[n] or ''
    end
  end
end

local function wantedBy(args)
  local wanted, i = 0, 2
  while args[i] do
    wanted = wanted + args[i + 2]
    i = i + 3 + args[i + 2]
  end
  return wanted
end

-- tms1_assign answers requests in order, each with all the tokens it asks for or with a refusal.
-- ARGV: now, and for each request: client_id, ttl or "", count, and as many lease_ids. At most 1,000 tokens in all.
-- Answer: {now, token_ttl, when the next token comes back or -1, a result for each request}. A result is the number of
-- tokens available to it if it was refused, otherwise an array of token, end of the lease, lease string and metadata
-- for each of its tokens. "pool_paused"; "again": some expiries were carried out, and nothing was assigned.
local function assign(k, args)
  if not open(k, args[1]) then return NO_POOL end
  if policy.paused then return 'pool_paused' end
  local wanted = wantedBy(args)
  local tokens = gather(wanted)
  tally()
  if not tokens then return 'again' end
  begin(tokens)
  local results, i = {now, policy.token_ttl_ms, -1}, 2
  while args[i] do
    local result, locked = grantRequest(args, i)
    if not result then
      undo()
      park(locked)
      return 'again'
    end
    results[#results + 1] = result
    i = i + 3 + args[i + 2]
  end
  commit()
  describeGrants(results, 4)
  if grant.used < wanted then results[3] = instant(nextReturn()) end
  return results
end

----------------------------------------------------------------------------------------- keep-alive, unblock and delete

-- Refuses a lease_id that is not the present lease's, and a missing one where the pool requires it.
local function refusal(r, id)
  if id ~= '' then
    if r.state ~= ASSIGNED or id ~= r.id or id == '-' then return 'lease_lost' end
  elseif r.state == ASSIGNED and policy.require_lease_id then
    return 'not_holder'
  end
end

local function prolong(r, ttl)
  local till = now + (ttl == '' and r.ttl or tonumber(ttl))
  if policy.max_lease_ms > 0 then
    local longest = r.at + policy.max_lease_ms
    if r.till >= longest then return 'max_lease_exceeded' end
    till = min(till, longest)
  end
  r.till = max(r.till, till)
end

local function keepAlive(r, id, ttl)
  local code = refusal(r, id) or r.state == ASSIGNED and prolong(r, ttl)
  if not code then touch(r) end
  return code
end

local function unblock(r, id)
  local code = refusal(r, id)
  if code then return code end
  if r.state ~= ASSIGNED then return 'not_assigned' end
  giveBack(r, now)
  r.seen = now
end

local function delete(r, id)
  local code = refusal(r, id)
  if code then return code end
  r.state = nil
end

-- tms1_keep_alive, tms1_unblock and tms1_delete do so to tokens, in order.
-- ARGV: now, and for each token: token, lease_id or "", ttl or "" (keep-alive only). At most 1,000 tokens.
-- Answer: {now, token_ttl, a result for each token}: the token as it now stands (delete: an empty array), or the code of
-- a refusal.
local function each(act)
  return function(k, args)
    if not open(k, args[1]) then return NO_POOL end
    local tokens = {}
    for i = 2, #args, 3 do tokens[#tokens + 1] = args[i] end
    local found, results = find(tokens), {now, policy.token_ttl_ms}
    settleAll(found)
    describe(found)
    for i = 2, #args, 3 do
      local r = found[args[i]]
      local code = 'token_not_found'
      if r and r.state then code = act(r, args[i + 1], args[i + 2]) end
      results[#results + 1] = code or answer(r)
    end
    save(found)
    tally()
    return results
  end
end

----------------------------------------------------------------------------------------------------- expire and look up

-- tms1_expire is one sweep.
-- ARGV: now, limit (at most 1,000).
-- Answer: {now, released, quarantined, deleted, next deadline or -1, the oldest deadline before the sweep or -1}.
local function expire(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local oldest = nextDeadline()
  if oldest < now then sweep(tonumber(args[2])) end
  tally()
  return {now, released, quarantined, deleted, instant(nextDeadline()), instant(oldest)}
end

-- tms1_token returns one token.
-- ARGV: now, token.
-- Answer: {now, token_ttl, the token}, or "token_not_found".
local function token(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local found = find({args[2]})
  settleAll(found)
  save(found)
  tally()
  local r = found[args[2]]
  if not r or not r.state then return 'token_not_found' end
  describe(found)
  return {now, policy.token_ttl_ms, answer(r)}
end

-- Returns the rank of the first token of a set after a place in it, whether or not a token stands there: one that sorts
-- right behind the place is put there for the moment. No value holds a control character.
local function rankAfter(state, at, value)
  if value == '' then return 0 end
  local mark = value .. '\0'
  call('ZADD', set(state), at, mark)
  local rank = call('ZRANK', set(state), mark)
  call('ZREM', set(state), mark)
  return rank
end

-- Appends at most limit records of a set, from a rank on. Returns true if there are more.
local function list(records, state, rank, limit)
  local found = call('ZRANGE', set(state), rank, rank + limit, 'WITHSCORES')
  for i = 1, min(#found, 2 * limit), 2 do
    records[#records + 1] = record(found[i], state, tonumber(found[i + 1]))
  end
  return #found > 2 * limit
end

-- tms1_tokens lists tokens by state, then by instant, then by value.
-- ARGV: now, limit (at most 1,000), client_id or "", the instant and the value after which the first state is listed,
-- or "" twice, the states.
-- Answer: {now, token_ttl, 1 if there are more, state, instant and value of the last token looked at (0, 0 and "" if
-- none was), and for each token that belongs to the client: value, token}; "again": some expiries were carried out.
local function tokens(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local swept = sweep(STEP)
  tally()
  if swept == STEP and nextDeadline() < now then return 'again' end
  local limit, records, more = tonumber(args[2]), {}, false
  for i = 6, #args do
    local state = tonumber(args[i])
    local rank = i == 6 and rankAfter(state, args[4], args[5]) or 0
    more = list(records, state, rank, limit - #records)
    if more then break end
  end
  read(records)
  describe(records)
  local last = records[#records] or {was = 0, score = 0, token = ''}
  local page = {now, policy.token_ttl_ms, more and 1 or 0, last.was, last.score, last.token}
  for _, r in ipairs(records) do
    if args[3] == '' or r.client == args[3] then
      page[#page + 1] = r.token
      page[#page + 1] = answer(r)
    end
  end
  return page
end

-- A full Redis refuses what takes more space; it must not refuse what may free some.
local function register(name, step, flags)
  local function callback(k, args)
    if not call then bind() end
    return step(k, args)
  end
  redis.register_function({function_name = 'tms1_' .. name, callback = callback, flags = flags or {'allow-oom'}})
end

register('put_pool', put_pool, {})
register('pool', pool)
register('delete_pool', delete_pool)
register('purge', purge)
register('generate', generate, {})
register('assign', assign, {})
register('keep_alive', each(keepAlive))
register('unblock', each(unblock))
register('delete', each(delete))
register('expire', expire)
register('token', token)
register('tokens', tokens)
