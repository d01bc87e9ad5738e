-- Writing what has changed of records.

-- Returns for how long Redis keeps a lease string. It is longer than any grace or token clock, since the policy may
-- change while the lease stands.
local function backstop(till) return till - now + BACKSTOP end

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
local function depart(r, removed)
  if not r.was then return end
  push(removed, r.was, r.token)
  if r.was == COOLING then push(removed, SEEN, r.token) end
  if r.was == ASSIGNED then push(removed, STRINGS, keys[7] .. r.token) end
  if not r.state then
    push(removed, PAST, r.token)
    if described then push(removed, STRINGS, keys[8] .. r.token) end
  end
end

-- Notes where the record now stands, and writes the lease.
local function arrive(r, added)
  local score = r.state == AVAILABLE and r.seen or r.till
  if r.state ~= r.was or score ~= r.score then push(added, r.state, digits(score), r.token) end
  if queue and r.state == AVAILABLE and (r.was ~= AVAILABLE or r.oldLanes) then queue.freed[#queue.freed + 1] = r end
  if r.state == COOLING and r.touched then push(added, SEEN, digits(r.seen), r.token) end
  if r.state == ASSIGNED and r.touched then
    call('SET', keys[7] .. r.token, r.text, 'PX', digits(backstop(r.till)))
  end
  r.score = score
end

-- Returns what is remembered of the leases that the tokens had.
local function pasts(records)
  local tokens = {}
  for i = 1, #records do tokens[i] = records[i].token end
  return call('HMGET', keys[9], unpack(tokens))
end

-- Adds the leases that have ended to what is remembered of their tokens.
local function savePast(ended)
  local texts, fields = pasts(ended), {}
  for i, r in ipairs(ended) do
    local leases, expired, client = 0, 0, ''
    if texts[i] then leases, expired, client = match(texts[i], '^(%d+) (%d+) %d+ (.*)$') end
    if r.ended then leases, expired, client = leases + 1, expired + r.ended, r.client end
    fields[2 * i - 1], fields[2 * i] = r.token, leases .. ' ' .. expired .. ' ' .. digits(r.since) .. ' ' .. client
    r.since, r.ended = nil, nil
  end
  call('HSET', keys[9], unpack(fields))
end

-- Notes which leases were granted since the takeover, before it is noted in which states the tokens are.
local function refresh(records)
  local removed, added = {}, {}
  for _, r in pairs(records) do
    if r.state == ASSIGNED and not inherited(r) then
      added[#added + 1], added[#added + 2] = digits(r.till), r.token
    elseif r.state ~= ASSIGNED then
      removed[#removed + 1] = r.token
    end
  end
  if #removed > 0 then call('ZREM', some('fresh'), unpack(removed)) end
  if #added > 0 then call('ZADD', some('fresh'), unpack(added)) end
end

-- Writes what has changed of at most STEP records.
local function save(records)
  local removed, added, ended = {}, {}, nil
  if policy.labelled or policy.limited then index(records) end
  for _, r in pairs(records) do
    if r.state ~= r.was then depart(r, removed) end
    if r.state then arrive(r, added) end
    if r.since and r.state then
      ended = ended or {}
      ended[#ended + 1] = r
    end
    r.was, r.touched, r.oldLanes = r.state, nil, nil
  end
  if settling() then refresh(records) end
  for at = AVAILABLE, SEEN do
    if removed[at] then call('ZREM', set(at), unpack(removed[at])) end
    if added[at] then call('ZADD', set(at), unpack(added[at])) end
  end
  if removed[STRINGS] then call('DEL', unpack(removed[STRINGS])) end
  if removed[PAST] then call('HDEL', keys[9], unpack(removed[PAST])) end
  if ended then savePast(ended) end
  if queue then queue.supplies, queue.measured = {}, false end
end

-- Returns the token as the functions answer it, with the last sign of life that its clock counts from.
local function reply(r)
  local about = r.state == ASSIGNED and r.text or wound(r.seen)
  if memory.settled and r.state == ASSIGNED then about = r.head .. ' ' .. digits(wound(r.seen)) .. ' ' .. r.tail end
  return {r.state, r.till, about, r.metadata or '', r.past}
end
