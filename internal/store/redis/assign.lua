-- Assign.

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

-- Returns at most n available tokens at random. Most pools hold none that is dead, so that they are looked for only
-- when one was drawn.
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

-- Leases the next candidate. Returns the lease string, or nil if the token's lock is held, and the token.
local function lease(id, about, till, lasts)
  local used = grant.used + 1
  local token = grant.tokens[used]
  local name, text = keys[7] .. token, id .. ' ' .. format('%.0f', grant.fence + used) .. about
  if not call('SET', name, text, 'NX', 'PX', lasts) then return nil, token end
  grant.used, grant.leases[used] = used, name
  grant.scored[2 * used - 1], grant.scored[2 * used] = till, token
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
  local till, about = now + ttl, ' ' .. digits(now) .. ' ' .. digits(now) .. ' ' .. ttl .. ' ' .. args[i]
  local ends, lasts, result = digits(till), digits(backstop(till, now)), {}
  for n = 1, count do
    local text, token = lease(args[i + 2 + n], about, ends, lasts)
    if not text then return nil, token end
    result[4 * n - 3], result[4 * n - 2], result[4 * n - 1], result[4 * n] = token, till, text, ''
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

register('assign', assign, {})
