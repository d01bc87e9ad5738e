-- Pools.

local function changed(p, change)
  local merged = {}
  for name, value in pairs(p) do merged[name] = value end
  for name, value in pairs(change) do merged[name] = value end
  return merged
end

-- Reports whether the pool holds tokens that the change of its policy could not take along.
local function inUse(p, merged)
  local relabelled = p.labels ~= merged.labels
  local turned = (p.max_leases_per_client > 0) ~= (merged.max_leases_per_client > 0)
  return relabelled and size() > 0 or turned and call('ZCARD', keys[3]) > 0
end

-- Goes on under the changed policy: more may be due, or alive, and a pool that is no longer paused gives to those who
-- wait.
local function resume(text)
  local was = policy.lease_ttl_ms
  policy = parsed[text] or parse(text)
  lasts(was)
  if queue then queue.kept, queue.supplies, queue.measured = true, {}, false end
  catchUp()
end

-- tms1_put_pool makes a pool or changes its policy. On a full Redis the latter must go on, as it may let tokens go; the
-- former is refused before it is asked for, since the name takes space, too.
-- ARGV: now, the default policy, the change, both JSON, and on which pools: "missing", "exists", or "" for any.
-- Answer: {now, policy, the policy as it was, or "" in a new pool}, and beyond that how many tokens there are, and how
-- many assigned, if the change could not take them along; "pool_exists"; "deleting" while the pool of that name is
-- being deleted.
local function put_pool(k, args)
  enter(k, args[1])
  local pool = call('HMGET', k[1], 'policy', 'epoch')
  if args[4] == 'exists' and not pool[1] then return NO_POOL end
  if args[4] == 'missing' and pool[1] then return 'pool_exists' end
  if pool[2] and not pool[1] then return 'deleting' end
  local p = decode(pool[1] or args[2])
  local merged = changed(p, cjson.decode(args[3]))
  local text = cjson.encode(merged)
  if not pool[1] then
    texts = {}
    takeOver({fence = tonumber(call('GET', some('gone')) or 0)}, false)
    tick()
  else
    open(k, args[1])
    if inUse(p, merged) then
      expire(STEP)
      if inUse(p, merged) then return {stamp(), pool[1], pool[1], size(), call('ZCARD', keys[3])} end
    end
  end
  call('HSET', k[1], 'policy', text)
  if pool[1] then resume(text) end
  return {stamp(), text, pool[1] or ''}
end

local FEW = 50 -- expiries of a look at a pool where more are due than one step can carry out

-- Returns how many leases are over, of how many of these the cooldown would be over as well, how many cooldowns are
-- over, and how many available tokens' clocks have run out.
local function countOverdue()
  local function before(key, at) return call('ZCOUNT', key, '-inf', '(' .. at) end
  local over = now - policy.grace_ms - wait
  local leases, rested, tokens = before(leaseSet(), over), 0, 0
  if leases > 0 then rested = before(leaseSet(), over - policy.cooldown_ms) end
  if oldest() > -huge then tokens = before(keys[2], oldest()) end
  return leases, rested, before(keys[4], now), tokens
end

-- tms1_pool returns a pool and the sizes of its sets, after at most 1,000 expiries that were due, or where there are
-- more, after few; then it counts the others as the policy would have them.
-- ARGV: now.
-- Answer: {now, policy, available, assigned, cooling, quarantined, waiting, released, quarantined, deleted, until when
-- it settles or -1}; released to deleted are what has expired since the pool was made.
local function pool(k, args)
  if not start(k, args[1]) then return NO_POOL end
  local leases, rested, cooldowns, tokens = countOverdue()
  expire(leases + cooldowns + tokens > STEP and FEW or STEP)
  finish()
  leases, rested, cooldowns, tokens = countOverdue()
  local h = call('HMGET', k[1], 'policy', 'released', 'quarantined', 'deleted')
  local becomes = policy.on_lease_expiry
  local available = call('ZCARD', keys[2]) + cooldowns - tokens
  local cooling, quarantined = call('ZCARD', keys[4]) - cooldowns, call('ZCARD', keys[5])
  if becomes == 'quarantine' then
    quarantined = quarantined + leases
  elseif becomes == 'release' then
    available, cooling = available + rested, cooling + leases - rested
  end
  return {stamp(), h[1], available, call('ZCARD', keys[3]) - leases, cooling, quarantined, howManyWait(),
    h[2] or '0', h[3] or '0', h[4] or '0', settling() and memory.settled or -1}
end

-- tms1_delete_pool takes the pool away from everybody. Its tokens are left to tms1_purge.
-- ARGV: now.
-- Answer: {now}.
local function delete_pool(k, args)
  if not open(k, args[1]) then return NO_POOL end
  call('HSET', k[1], 'labels', policy.labels)
  call('HDEL', k[1], 'policy')
  return {stamp()}
end

-- Takes the first of a set, at most limit, and returns them.
local function pop(key, limit)
  local popped, members = limit > 0 and call('ZPOPMIN', key, limit) or {}, {}
  for i = 1, #popped, 2 do members[#members + 1] = popped[i] end
  return members
end

-- Removes at most limit tokens of a set, and what lies beside it. Returns how many.
local function purgeTokens(state, limit)
  local tokens, records, strings = pop(set(state), limit), {}, {}
  if #tokens == 0 then return 0 end
  local clients = state == ASSIGNED and call('HMGET', some('holders'), unpack(tokens)) or {}
  for i, token in ipairs(tokens) do
    records[i] = record(token, state, 0)
    records[i].client, records[i].state = clients[i] or '', nil
    if state == ASSIGNED then strings[#strings + 1] = keys[7] .. token end
    if described then strings[#strings + 1] = keys[8] .. token end
  end
  if state == AVAILABLE and policy.labelled then describe(records) end
  index(records)
  if #strings > 0 then call('DEL', unpack(strings)) end
  if state == COOLING then call('ZREM', set(SEEN), unpack(tokens)) end
  call('HDEL', keys[9], unpack(tokens))
  return #tokens
end

-- Removes at most limit tickets. Returns how many.
local function purgeTickets(name, limit)
  local tickets = pop(some(name), limit)
  if #tickets == 0 then return 0 end
  for _, text in ipairs(call('HMGET', some('tickets'), unpack(tickets))) do
    call('DEL', some('line:' .. requestOf(newTicket('', text)).lane))
  end
  call('HDEL', some('tickets'), unpack(tickets))
  return #tickets
end

-- Removes at most limit remembered requests. Returns how many.
local function purgeRequests(limit)
  local ids = pop(some('requests'), limit)
  if #ids > 0 then call('HDEL', some('answers'), unpack(ids)) end
  return #ids
end

local MARK = 60 * 60 * 1000 -- for how long it is there: longer than any server takes to come by

-- tms1_purge removes at most 1,000 tokens, tickets and requests of a pool that is being deleted, and with the last
-- one the pool.
-- ARGV: now, "1" to leave a mark that somebody has deleted the pool, in a cluster.
-- Answer: {now, 1 if it has to be called again}. It does nothing to a pool that is not being deleted.
local function purge(k, args)
  enter(k, args[1])
  now, texts, queue = 0, {}, nil
  local stored = call('HMGET', k[1], 'policy', 'metadata', 'fence', 'labels')
  local at = modern and '0 0' or 0
  if stored[1] or not stored[3] then return {at, 0} end
  described = stored[2]
  policy = {labelled = stored[4] and lines(stored[4]), limited = true}
  local left = STEP
  for state = AVAILABLE, QUARANTINED do left = left - purgeTokens(state, left) end
  left = left - purgeTickets('waiting', left)
  left = left - purgeTickets('handed', left)
  left = left - purgeTickets('absent', left)
  left = left - purgeRequests(left)
  if left == 0 then return {at, 1} end
  call('DEL', k[1], some('several'), some('beyond'), some('fresh'))
  if args[2] == '1' or runsAhead(tonumber(stored[3])) then call('SET', some('gone'), stored[3], 'PX', MARK) end
  highest = max(highest, tonumber(stored[3]))
  memories[place] = nil
  return {at, 0}
end

-- tms1_report tells a pool what a server remembers of it. A fence above the pool's says that it is a copy of what it
-- was, which settles whatever the server thinks that it can lose.
-- ARGV: now, the longest ttl of which the server has answered and which may last, the highest fence that it has
-- answered.
-- Answer: {now, until when the pool settles or -1}.
local function report(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local ttl, fence = tonumber(args[2]), tonumber(args[3])
  if fence > memory.fence then
    local pool = stored()
    pool.fence = fence
    takeOver(pool, true)
    tick()
  end
  if settling() then
    memory.settled = max(memory.settled, memory.taken + wait + ttl)
    call('HSET', keys[1], 'settled', digits(memory.settled))
  end
  return {stamp(), settling() and memory.settled or -1}
end

register('put_pool', put_pool)
register('pool', pool)
register('delete_pool', delete_pool)
register('purge', purge)
register('report', report)
