-- Keep-alives and unblocks of the common case, without records: the caller names the lease, which has begun and has not
-- ended; it is renewed for as long as it was granted for, or its token comes back to rest for no time; and the pool has
-- settled, and has neither a queue nor labels nor a limit of leases. Whatever else there is takes records: verbs.lua.

-- Returns where the result of the token at ARGV[i] stands in the answer.
function resultOf(i) return i / 3 + 2 end

-- Returns a result: what it takes to say of the token, or the end of its lease where that is enough.
function tell(r, brief)
  if not r.state then return '' end
  if brief ~= '' then return r.state == ASSIGNED and digits(r.till) or '' end
  return pack(r.state, r.till, about(r), r.metadata)
end

-- What the step writes in the end.
local renewed, freed, names, clients, history

local times -- the ttls of leases, by their text, that are granted as they are, or false

local function granted(ttl)
  if times[ttl] == nil then
    local asked = tonumber(ttl)
    times[ttl] = lasts(bound(asked)) == asked and asked
  end
  return times[ttl]
end

-- Renews a lease that has an end and a string. Returns the new end, or nil if it takes more than moving that.
local function renew(token, id, own, till, text)
  if policy.max_lease_ms > 0 then return end
  local same, at, ttl = match(text, '^(%S+) %d+ (%d+) %* (%d+) ')
  if same ~= id or at == '0' or own ~= 'k' and own ~= 'k' .. ttl then return end
  ttl = granted(ttl)
  if not ttl or now + ttl < till or floor((now - at) / AGE) > floor((till - ttl - at) / AGE) then return end
  local n = #renewed
  if now + ttl > till then renewed[n + 1], renewed[n + 2] = digits(now + ttl), token end
  return now + ttl
end

-- Ends a lease. Returns true if that is all it takes.
local function free(token, id, own, till, text)
  if own ~= 'u' or policy.cooldown_ms > 0 then return end
  local same, fence, at, seen, ttl, client = match(text, '^(%S+) (%d+) (%d+) (%S+) (%d+) (.*)$')
  if same ~= id or at == '0' then return end
  local n = #freed + 1
  if seen == FOLLOWS then seen = till - ttl end
  freed[n], names[n], clients[n] = token, keys[7] .. token, client
  history[n] = ended(fence, at, seen, now, 'r', nil, client)
  return true
end

-- Returns the result of the token at ARGV[i], or nil if it takes a record.
local function swift(args, i, till, text, metadata)
  local token, id, own = args[i], args[i + 1], args[i + 2]
  if not till or not text or now > till + policy.grace_ms + wait then return end
  local renewal = renew(token, id, own, till, text)
  if renewal then return args[2] ~= '' and digits(renewal) or pack(ASSIGNED, renewal, text, metadata) end
  if not free(token, id, own, till, text) then return end
  return args[2] ~= '' and '' or pack(AVAILABLE, now, digits(now), metadata)
end

-- Appends the leases that were ended to the pasts of their tokens.
local function age()
  local pasts, fields = call('HMGET', keys[9], unpack(freed)), {}
  for n = 1, #freed do
    fields[2 * n - 1], fields[2 * n] = freed[n], aged(pasts[n], 0, now, clients[n], history[n])
  end
  call('HSET', keys[9], unpack(fields))
end

local function write()
  if #renewed > 0 then call('ZADD', keys[3], unpack(renewed)) end
  if #freed == 0 then return end
  local scored, seen = {}, digits(now)
  for n, token in ipairs(freed) do scored[2 * n - 1], scored[2 * n] = seen, token end
  call('ZREM', keys[3], unpack(freed))
  call('ZADD', keys[2], unpack(scored))
  call('DEL', unpack(names))
  age()
end

-- Returns the tokens of ARGV, the names of their leases, their places, and whether a token is there twice: then the
-- second act may depend on the first.
local function asked(args)
  local tokens, leases, places, met, n = {}, {}, {}, {}, 0
  local prefix, twice = keys[7], false
  for i = 3, #args, 3 do
    local token = args[i]
    n = n + 1
    tokens[n], leases[n], places[n] = token, prefix .. token, i
    twice = twice or met[token]
    met[token] = true
  end
  return tokens, leases, places, twice
end

local function metadataOf(tokens)
  if not described then return {} end
  local names = {}
  for n, token in ipairs(tokens) do names[n] = keys[8] .. token end
  return call('MGET', unpack(names))
end

-- Answers the tokens of ARGV that it can. Returns the places of the others.
function swiftly(args, results)
  local tokens, leases, places, twice = asked(args)
  if twice or queue or policy.labelled or policy.limited or settling() then return places end
  renewed, freed, names, clients, history, times = {}, {}, {}, {}, {}, {}
  local ends, texts = call('ZMSCORE', keys[3], unpack(tokens)), call('MGET', unpack(leases))
  local metadata, left = metadataOf(tokens), {}
  for n, i in ipairs(places) do
    local result = swift(args, i, ends[n] and tonumber(ends[n]), texts[n], metadata[n])
    results[n + 2] = result or ''
    if not result then left[#left + 1] = i end
  end
  write()
  return left
end
