-- Pools.

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

register('put_pool', put_pool, {})
register('pool', pool)
register('delete_pool', delete_pool)
register('purge', purge)
