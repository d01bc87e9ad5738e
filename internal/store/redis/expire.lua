-- Deadlines: what becomes of a token when a clock has run out.

local function tokenClock(r) return wound(r.seen) + policy.clock end

-- Returns when the lease is past reviving: while the pool settles, no inherited one is.
local function leaseOver(r)
  if r.at == '0' then return r.till end
  local over = r.till + policy.grace_ms + wait
  return inherited(r) and max(over, memory.settled) or over
end

local function due(r)
  if r.state == AVAILABLE then return tokenClock(r) end
  if r.state == ASSIGNED then return leaseOver(r) end
  if r.state == COOLING then return min(r.till, tokenClock(r)) end
  return huge
end

-- Reports whether a sign of life says nothing of who holds the token.
local function mayBeHeld(r)
  if not settling() then return false end
  if r.state ~= ASSIGNED then return tonumber(r.seen) < memory.taken end
  return r.at == '0' and inherited(r)
end

-- Winds the token clock.
function touch(r)
  if r.state == QUARANTINED then return end
  r.seen, r.touched = mayBeHeld(r) and oldSide() or now, true
  if r.state == ASSIGNED then r.text = leaseText(r.head, r.seen, r.ttl, r.client, r.till) end
end

-- The token comes back, and has to rest.
function giveBack(r, cooldown, at)
  r.touched = true
  if cooldown > 0 then
    r.state, r.till = COOLING, at + cooldown
  else
    r.state = AVAILABLE
  end
end

local function endLease(r)
  local at = leaseOver(r)
  endsNow(r, at, 'e', 1)
  if policy.on_lease_expiry == 'quarantine' then
    quarantined = quarantined + 1
    r.state, r.till = QUARANTINED, at
  elseif policy.on_lease_expiry == 'delete' or at > tokenClock(r) then
    deleted = deleted + 1
    r.state = nil
  else
    released = released + 1
    giveBack(r, policy.cooldown_ms, at)
  end
end

-- Carries out every deadline of the record that has passed, one after the other, each at its own instant.
local function settle(r)
  while r.state and now > due(r) do
    if r.state == ASSIGNED and r.at == '0' then
      r.state = AVAILABLE
    elseif r.state == ASSIGNED then
      endLease(r)
    elseif r.state == COOLING and r.till < tokenClock(r) then
      r.state = AVAILABLE
    else
      deleted = deleted + 1
      r.state = nil
    end
  end
end

-- Returns the key with those leases that can end: while the pool settles, the inherited ones stand still.
function leaseSet() return settling() and some('fresh') or keys[3] end

function settleAll(records)
  read(records)
  for _, r in pairs(records) do settle(r) end
end

-- Appends at most limit records of a state whose score lies before an instant.
local function overdue(records, state, before, limit)
  if limit <= 0 then return end
  local key = state == ASSIGNED and leaseSet() or set(state)
  local found = call('ZRANGEBYSCORE', key, '-inf', '(' .. before, 'WITHSCORES', 'LIMIT', '0', limit)
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

function firstScore(key)
  local first = call('ZRANGE', key, '0', '0', 'WITHSCORES')
  return first[2] and tonumber(first[2]) or huge
end

-- Reports whether no lease and no cooldown is over. It remembers, for as long as this process serves the pool, instants
-- before which none is, so that a step looks at the sets only when one of these has come. Of a pool that settles it
-- knows nothing.
local function quiet()
  if queue or settling() then return false end
  local m = memory
  if not m.ends or m.ends + policy.grace_ms + wait < now then m.ends = firstScore(keys[3]) end
  if not m.rests or m.rests < now then m.rests = firstScore(keys[4]) end
  return m.ends + policy.grace_ms + wait >= now and m.rests >= now
end

-- Carries out at most limit ends of leases and cooldowns, and hands what comes back to waiters. Returns how
-- many.
function comeBack(limit)
  if quiet() then return 0 end
  local records, lapsed = {}, queue and queue.open and lapse(limit) or 0
  overdue(records, ASSIGNED, now - policy.grace_ms - wait, limit - lapsed)
  overdue(records, COOLING, now, limit - lapsed - #records)
  if #records > 0 then
    settleAll(records)
    save(records)
  end
  if queue then handOff() end
  return lapsed + #records
end

-- Carries out at most limit deaths of tokens that nobody holds. Returns how many.
local function die(limit)
  if oldest() == -huge then return 0 end
  local records = {}
  overdue(records, AVAILABLE, now - policy.clock, limit)
  overdueResting(records, limit - #records)
  if #records == 0 then return 0 end
  settleAll(records)
  save(records)
  return #records
end

-- Carries out at most limit expiries, and returns how many.
function expire(limit)
  local done = comeBack(limit)
  return done + die(limit - done)
end

-- Returns when the next lease ends, handed token lapses or cooldown is over.
function nextReturn()
  local next = min(firstScore(leaseSet()) + policy.grace_ms + wait, firstScore(keys[4]), settlesNext())
  return queue and queue.open and min(next, firstScore(some('handed'))) or next
end

function nextDeadline()
  local next = nextReturn()
  if policy.clock == huge then return next end
  return min(next, wound(min(firstScore(keys[2]), firstScore(keys[6]))) + policy.clock)
end

-- Returns an instant, or -1 for never.
function instant(at) return at < huge and at or -1 end
