-- Requests that are safe to repeat, because what they were given is remembered.

-- The print of a request that was given up before it was carried out, whatever its content.
local GIVEN_UP = '-'

-- Returns what is remembered of a request, and its print, or nil.
local function remembered(id)
  local text = call('HGET', some('answers'), id)
  if not text then return end
  local print, till, json = match(text, '^(%S+) (%S+) (.*)$')
  if now > tonumber(till) then return end
  return cjson.decode(json), print
end

-- Returns what is remembered of the request, or nil, and a refusal if its id was used for another one.
local function recall(id, print)
  if id == '' then return end
  local past, first = remembered(id)
  if not past or first == print or first == GIVEN_UP then return past end
  return nil, 'request_id_reused'
end

-- Forgets at most limit requests whose time is over.
local function forget(limit)
  local ids = call('ZRANGEBYSCORE', some('requests'), '-inf', '(' .. digits(now), 'LIMIT', '0', limit)
  if #ids == 0 then return end
  call('ZREM', some('requests'), unpack(ids))
  call('HDEL', some('answers'), unpack(ids))
end

-- Remembers what the request was given, if it has an id, for as long as the policy says if nothing else is said. Two
-- that are over make room, so that no pool piles them up.
local function remember(id, print, given, life)
  if id == '' then return end
  forget(2)
  local till = digits(now + (life or policy.request_ttl_ms))
  call('ZADD', some('requests'), till, id)
  call('HSET', some('answers'), id, print .. ' ' .. till .. ' ' .. cjson.encode(given))
end
