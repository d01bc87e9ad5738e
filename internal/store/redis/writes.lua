-- Writing what has changed of records.

-- Returns for how long Redis keeps a lease string. It is longer than any grace or token clock, since the policy may
-- change while the lease stands.
function backstop(till) return till - now + BACKSTOP end

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

-- Notes that a lease, or a cooldown, ends at an instant: see quiet.
function endsAt(state, at)
  local m = memory
  if state == ASSIGNED and m.ends and at < m.ends then m.ends = at end
  if state == COOLING and m.rests and at < m.rests then m.rests = at end
end

-- Notes where the record now stands, and writes the lease.
local function arrive(r, added)
  local score = r.state == AVAILABLE and r.seen or r.till
  if r.state ~= r.was or score ~= r.score then
    push(added, r.state, digits(score), r.token)
    endsAt(r.state, score)
  end
  if queue and r.state == AVAILABLE and (r.was ~= AVAILABLE or r.oldLanes) then queue.freed[#queue.freed + 1] = r end
  if r.state == COOLING and r.touched then push(added, SEEN, digits(r.seen), r.token) end
  if r.state == ASSIGNED and r.touched then
    call('SET', keys[7] .. r.token, r.text, 'PX', digits(backstop(r.till)))
  end
  r.score = score
end

-- Returns what is remembered of the leases that the tokens had.
function pasts(records)
  local tokens = {}
  for i = 1, #records do tokens[i] = records[i].token end
  return call('HMGET', keys[9], unpack(tokens))
end

-- Returns the line of a lease that ended at an instant, for the history of its token: how is the first letter of how,
-- and by the key that ended it by force, or nil.
function ended(fence, at, seen, since, how, by, client)
  return fence .. ' ' .. digits(at + ahead()) .. ' ' .. digits(seen - at) .. ' ' .. digits(since - seen) .. ' ' .. how
    .. ' ' .. (by or '-') .. ' ' .. client
end

-- Returns the line feed before the history in what is remembered of a token, and of that the first lines, at most so
-- many.
local function first(past, most)
  local from = strfind(past, '\n', 1, true)
  local last = from
  for _ = 1, from and most or 0 do
    local at = strfind(past, '\n', last + 1, true)
    if not at then break end
    last = at
  end
  return from and sub(past, from, last) or '\n'
end

-- Returns what is to be told of a token's history.
function told(past) return sub(first(past, policy.history), 2) end

-- Returns what is remembered of a token after one more lease, of a client, has ended: expired is 1 if because nobody
-- kept it alive, and line is for its history.
function aged(past, expired, since, client, line)
  local leases, before = 0, 0
  if past then leases, before = match(past, '^(%d+) (%d+) ') end
  local text = leases + 1 .. ' ' .. before + expired .. ' ' .. digits(since) .. ' ' .. client
  if policy.history == 0 then return text end
  return text .. '\n' .. line .. (past and first(past, policy.history - 1) or '\n')
end

-- Adds the leases that have ended to what is remembered of their tokens.
local function savePast(over)
  local texts, fields = pasts(over), {}
  for i, r in ipairs(over) do
    local counts, rest = match(texts[i] or '0 0 0 ', '^(%d+ %d+) %d+ (.*)$')
    fields[2 * i - 1], fields[2 * i] = r.token, r.ended and aged(texts[i], r.ended, r.since, r.client, r.line)
      or counts .. ' ' .. digits(r.since) .. ' ' .. rest
    r.since, r.ended, r.line, r.by = nil, nil, nil, nil
  end
  call('HSET', keys[9], unpack(fields))
end

-- Notes in the record that its lease ends at an instant: expired is 1 if because nobody kept it alive.
function endsNow(r, at, how, expired)
  r.since, r.ended = at, expired
  r.line = ended(match(r.head, '^%S+ (%d+)'), r.at, r.seen, at, how, r.by, r.client)
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
function save(records)
  local removed, added, over = {}, {}, nil
  if policy.labelled or policy.limited then index(records) end
  for _, r in pairs(records) do
    if r.state ~= r.was then depart(r, removed) end
    if r.state then arrive(r, added) end
    if r.since and r.state then
      over = over or {}
      over[#over + 1] = r
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
  if over then savePast(over) end
  if queue then queue.supplies, queue.measured = {}, false end
end

-- Returns the record of the token as the functions answer it, with the last sign of life that its clock counts from.
function about(r)
  if r.state ~= ASSIGNED then return digits(wound(r.seen)) end
  if memory.settled then return r.head .. ' ' .. digits(wound(r.seen)) .. ' ' .. r.ttl .. ' ' .. r.client end
  return modern and r.text or exact(r.text, r.till)
end

function reply(r) return {r.state, r.till, about(r), r.metadata or '', r.past, r.history} end

function pack(state, till, about, metadata)
  local text = state .. ' ' .. digits(till) .. ' ' .. about
  return metadata and metadata ~= '' and text .. '\n' .. metadata or text
end
