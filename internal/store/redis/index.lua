-- The indexes that only some pools keep: the lanes of available tokens, and the leases of each client.

-- Returns the lanes that the token suits, as rules.Lanes does: one for each set of the labels that it has.
function lanesOf(r)
  if r.lanes then return r.lanes end
  local lanes, metadata = {}, r.metadata and r.metadata ~= '' and cjson.decode(r.metadata)
  for _, label in ipairs(metadata and policy.labelled or {}) do
    local value = metadata[label]
    if value then
      local part = #label .. ':' .. label .. #value .. ':' .. value
      for n = 0, #lanes do lanes[#lanes + 1] = (lanes[n] or '') .. part end
    end
  end
  r.lanes = lanes
  return lanes
end

function laneKey(lane) return lane == '' and keys[2] or some('lane:' .. lane) end

-- Appends to the list of a key.
local function note(lists, key, a, b)
  local list = lists[key] or {}
  lists[key], list[#list + 1] = list, a
  list[#list + 1] = b
end

local function indexLanes(r, removed, added)
  local moved = r.state ~= r.was or r.seen ~= r.score or r.oldLanes
  if not moved or r.was ~= AVAILABLE and r.state ~= AVAILABLE then return end
  for _, lane in ipairs(r.oldLanes or {}) do note(removed, laneKey(lane), r.token) end
  for _, lane in ipairs(lanesOf(r)) do
    if r.state == AVAILABLE then
      note(added, laneKey(lane), digits(r.seen), r.token)
    else
      note(removed, laneKey(lane), r.token)
    end
  end
end

local function indexClient(r, removed, added)
  if r.was ~= ASSIGNED and r.state ~= ASSIGNED then return end
  local client = r.client
  if client == '' then return end
  if r.state ~= ASSIGNED then
    note(removed, some('client:' .. client), r.token)
    note(removed, 'holders', r.token)
  elseif r.was ~= ASSIGNED or r.till ~= r.score then
    note(added, some('client:' .. client), digits(r.till), r.token)
    if r.was ~= ASSIGNED then note(added, 'holders', r.token, client) end
  end
end

-- Writes what has changed of the records in the indexes, before it is written in the sets.
function index(records)
  local removed, added = {holders = {}}, {holders = {}}
  for _, r in pairs(records) do
    if policy.labelled then indexLanes(r, removed, added) end
    if policy.limited then indexClient(r, removed, added) end
  end
  local gone, held = removed.holders, added.holders
  removed.holders, added.holders = nil, nil
  for key, tokens in pairs(removed) do call('ZREM', key, unpack(tokens)) end
  for key, scored in pairs(added) do call('ZADD', key, unpack(scored)) end
  if #gone > 0 then call('HDEL', some('holders'), unpack(gone)) end
  if #held > 0 then call('HSET', some('holders'), unpack(held)) end
end

-- Returns how many live leases the client has, those included that it was handed.
local function held(client)
  local from = settling() and -huge or now - policy.grace_ms - wait
  return call('ZCOUNT', some('client:' .. client), from, '+inf')
end

-- Returns how many leases the client has if count more would be too many.
function quota(client, count)
  if not policy.limited then return end
  local has = held(client)
  return has + count > policy.max_leases_per_client and has
end
