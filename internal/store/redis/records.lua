-- Records, and reading them from Redis.

-- A record is a token as this step sees it: state (nil: deleted), was (its state in Redis), score (there), till,
-- seen. oldLanes: what it leaves in this step, because it gets other metadata. Of a lease it has the string, text, its
-- parts id, at, ttl and client, and what stands before the last sign of life, head. Numbers that were read stay text
-- until something is reckoned with them. touched: what lies beside the set has changed. since: when
-- the step has ended the lease, or put the token aside or restored it. ended: it has ended the lease, 1 if because it
-- expired, otherwise 0, and line is for the history; by: the key that does so by force.

local function record(token, state, score)
  return {token = token, was = state, state = state, score = score, till = score, seen = score, text = nil,
    touched = nil, head = nil, id = nil, at = nil, ttl = nil, client = nil, since = nil, ended = nil, line = nil,
    by = nil, oldLanes = nil}
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

local FOLLOWS = '*' -- in the place of the last sign of life: it is the end of the lease less its ttl

-- Returns a lease string, of a lease that lasts until an instant.
local function leaseText(head, seen, ttl, client, till)
  return head .. ' ' .. (till - seen == tonumber(ttl) and FOLLOWS or digits(seen)) .. ' ' .. ttl .. ' ' .. client
end

-- Returns a lease string with its last sign of life.
local function exact(text, till)
  local head, ttl, client = match(text, '^(%S+ %d+ %d+) %* (%d+) (.*)$')
  return head and head .. ' ' .. digits(till - ttl) .. ' ' .. ttl .. ' ' .. client or text
end

-- Reads a lease string. Where Redis has removed it, since nobody came by for longer than the backstop, the last sign of
-- life is forgotten, and who holds the lease, unless the pool keeps an index of clients.
local function readLease(r, text)
  if not text then
    local client = policy.limited and call('HGET', some('holders'), r.token) or ''
    text = '- 0 ' .. r.till .. ' ' .. r.till .. ' ' .. policy.lease_ttl_ms .. ' ' .. client
  end
  r.text = text
  r.head, r.id, r.at, r.seen, r.ttl, r.client = match(text, '^((%S+) %d+ (%d+)) (%S+) (%d+) (.*)$')
  if r.seen == FOLLOWS then r.seen = r.till - r.ttl end
end

-- Reads the metadata of the records.
local function describe(records)
  if not described then return end
  local list, names = {}, {}
  for _, r in pairs(records) do list[#list + 1], names[#names + 1] = r, keys[8] .. r.token end
  if #list == 0 then return end
  local texts = call('MGET', unpack(names))
  for i, r in ipairs(list) do r.metadata = texts[i] end
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
  if policy.labelled then describe(records) end
end
