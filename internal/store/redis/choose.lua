-- Which of the available tokens are given next.

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

-- Returns at most n living available tokens at random, each as likely as the other. They are drawn by their rank, from
-- the end of the set, since those that are dead stand at its beginning; of not many more than n all are read.
local function drawLiving(key, from, n)
  local living = call('ZCOUNT', key, from, '+inf')
  if living == 0 then return {} end
  if living <= 2 * n then return draw(call('ZREVRANGE', key, 0, living - 1), n) end
  local drawn, taken = {}, {}
  while #drawn < n do
    local rank = random(0, living - 1)
    if not taken[rank] then
      taken[rank] = true
      drawn[#drawn + 1] = call('ZREVRANGE', key, rank, rank)[1]
    end
  end
  return drawn
end

-- Returns at most n living available tokens of a set in the order of the pool's selection.
local function candidates(key, n)
  local from = givable()
  if policy.selection == 'fifo' then return call('ZRANGEBYSCORE', key, from, '+inf', 'LIMIT', 0, n) end
  if policy.selection == 'lifo' then return call('ZREVRANGEBYSCORE', key, '+inf', from, 'LIMIT', 0, n) end
  return drawLiving(key, from, n)
end

-- Returns for how long a lock holds: as long as the lease that left it behind may last, or as Redis keeps a lock of any
-- other origin. The end of a lease is not in its string, which may have been written up to AGE before it was last kept
-- alive.
local function holds(lock)
  local at, seen, ttl = match(call('MGET', lock)[1] or '', '^%S+ %d+ (%d+) (%S+) (%d+) ')
  local left = call('PTTL', lock)
  if seen == FOLLOWS and left >= 0 then return max(left - BACKSTOP + AGE, at + ttl - now) end
  if seen and left >= 0 then return max(left - BACKSTOP, seen + ttl - now) end
  return left < 0 and policy.lease_ttl_ms or left
end

-- The lock of an available token is held, which nothing here explains. The token rests for as long as the lock holds.
local function park(token)
  local lock = keys[7] .. token
  local left = holds(lock)
  if left < 0 then return call('DEL', lock) end
  local r = find({token})[token]
  read({r})
  r.state, r.till, r.touched = COOLING, now + left, true
  save({r})
end

-- Returns the ttl that the policy lets one have.
local function bound(ttl) return policy.max_ttl_ms > 0 and min(ttl, policy.max_ttl_ms) or ttl end

local function leaseTime(asked)
  local ttl = bound(asked == '' and policy.lease_ttl_ms or tonumber(asked))
  return lasts(policy.max_lease_ms > 0 and min(ttl, policy.max_lease_ms) or ttl)
end
