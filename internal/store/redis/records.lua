-- Records: reading them from Redis and writing what has changed.

-- A record is a token as this step sees it: state (nil: deleted), was (its state in Redis), score (there), till,
-- seen. Of a lease it has the string, text, its parts id, at and ttl, and what stands before and after the last sign
-- of life, head and tail. Numbers that were read stay text until something is reckoned with them. touched: what lies
-- beside the set has changed.

local function record(token, state, score)
  return {token = token, was = state, state = state, score = score, till = score, seen = score, text = nil, touched = nil,
    head = nil, id = nil, at = nil, tail = nil, ttl = nil}
end

-- Returns the records of those of the tokens that exist, by token.
local function find(tokens)
  local found, missing = {}, tokens
  for n = 1, #SEARCH do
    local state, rest, left = SEARCH[n], nil, 0
    local scores = call('ZMSCORE', set(state), unpack(missing))
    for i = 1, #missing do
      local token = missing[i]
      if scores[i] then
        found[token] = record(token, state, tonumber(scores[i]))
      else
        rest, left = rest or {}, left + 1
        rest[left] = token
      end
    end
    if not rest then break end
    missing = rest
  end
  return found
end

-- Reads a lease string. Where Redis has removed it, since nobody came by for longer than the backstop, the last sign of
-- life and who holds the lease are forgotten.
local function readLease(r, text)
  r.text = text or '- 0 ' .. r.till .. ' ' .. r.till .. ' ' .. policy.lease_ttl_ms .. ' '
  r.head, r.id, r.at, r.seen, r.tail, r.ttl = match(r.text, '^((%S+) %d+ (%d+)) (%d+) ((%d+) .*)$')
end

-- Reads what lies beside the sets.
local function read(records)
  local held, leases, resting, tokens
  local n, prefix = 0, keys[7]
  for _, r in pairs(records) do
    if r.was == ASSIGNED then
      if not held then held, leases = {}, {} end
      n = n + 1
      held[n], leases[n] = r, prefix .. r.token
    elseif r.was == COOLING then
      if not resting then resting, tokens = {}, {} end
      resting[#resting + 1], tokens[#tokens + 1] = r, r.token
    end
  end
  if held then
    local texts = call('MGET', unpack(leases))
    for i = 1, #held do readLease(held[i], texts[i]) end
  end
  if resting then
    local scores = call('ZMSCORE', set(SEEN), unpack(tokens))
    for i = 1, #resting do resting[i].seen = tonumber(scores[i] or resting[i].till) end
  end
end

local function backstop(till, seen)
  local over = till + policy.grace_ms
  if policy.clock < huge then over = max(over, seen + policy.clock) end
  return over - now + BACKSTOP
end

-- Appends to one of several lists, whose lengths stand at the negative places.
local function push(lists, at, a, b)
  local list = lists[at]
  if not list then
    list = {}
    lists[at], lists[-at] = list, 0
  end
  local n = lists[-at] + 1
  list[n] = a
  if b then
    n = n + 1
    list[n] = b
  end
  lists[-at] = n
end

-- Notes that the record leaves the set it was in.
local function leave(r, removed)
  if not r.was then return end
  push(removed, r.was, r.token)
  if r.was == COOLING then push(removed, SEEN, r.token) end
  if r.was == ASSIGNED then push(removed, STRINGS, keys[7] .. r.token) end
  if not r.state and described then push(removed, STRINGS, keys[8] .. r.token) end
end

-- Notes where the record now stands, and writes the lease.
local function arrive(r, added)
  local score = r.state == AVAILABLE and r.seen or r.till
  if r.state ~= r.was or score ~= r.score then push(added, r.state, digits(score), r.token) end
  if r.state == COOLING and r.touched then push(added, SEEN, digits(r.seen), r.token) end
  if r.state == ASSIGNED and r.touched then
    call('SET', keys[7] .. r.token, r.text, 'PX', digits(backstop(r.till, r.seen)))
  end
  r.score = score
end

-- Writes what has changed of at most STEP records.
local function save(records)
  local removed, added = {}, {}
  for _, r in pairs(records) do
    if r.state ~= r.was then leave(r, removed) end
    if r.state then arrive(r, added) end
    r.was, r.touched = r.state, nil
  end
  for at = AVAILABLE, SEEN do
    if removed[at] then call('ZREM', set(at), unpack(removed[at])) end
    if added[at] then call('ZADD', set(at), unpack(added[at])) end
  end
  if removed[STRINGS] then call('DEL', unpack(removed[STRINGS])) end
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
