-- Requests that are safe to repeat, because what they were given is remembered.

-- Returns what is remembered of the request, or nil, and a refusal if its id was used for another one.
local function recall(id, print)
  local text = id ~= '' and call('HGET', some('answers'), id)
  if not text then return end
  local first, till, json = match(text, '^(%S+) (%S+) (.*)$')
  if now > tonumber(till) then return end
  if first ~= print then return nil, 'request_id_reused' end
  return cjson.decode(json)
end

-- Forgets at most limit requests whose time is over.
local function forget(limit)
  local ids = call('ZRANGEBYSCORE', some('requests'), '-inf', '(' .. digits(now), 'LIMIT', '0', limit)
  if #ids == 0 then return end
  call('ZREM', some('requests'), unpack(ids))
  call('HDEL', some('answers'), unpack(ids))
end

-- Remembers what the request was given, if it has an id. Two that are over make room, so that no pool piles them up.
local function remember(id, print, given)
  if id == '' then return end
  forget(2)
  local till = digits(now + policy.request_ttl_ms)
  call('ZADD', some('requests'), till, id)
  call('HSET', some('answers'), id, print .. ' ' .. till .. ' ' .. cjson.encode(given))
end
