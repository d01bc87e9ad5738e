-- Assign, where nothing is asked for but any tokens.

-- Carries out returns that are due: a few in any case, more while tokens are lacking. Returns false if it stopped
-- because it touched enough.
function gather(n, lacking)
  local limit, touched = min(n + 10, STEP), 0
  while true do
    local done = comeBack(limit)
    touched = touched + done
    if not lacking() or done < limit then return true end
    if touched >= STEP then return false end
    limit = STEP
  end
end

-- What one assign grants. awaited: the tokens that there are belong to waiters.
local granting

local function begin(tokens, awaited)
  granting = {tokens = awaited and {} or tokens, awaited = awaited, used = 0, scored = {}, leases = {}, fence = 0,
    clients = {}}
  if #granting.tokens > 0 then granting.fence = issue(#granting.tokens) end
end

-- Leases the next candidate. Returns the lease string, or nil if the token's lock is held, and the token.
local function lease(id, about, till, lasts)
  local used = granting.used + 1
  local token = granting.tokens[used]
  local name, text = keys[7] .. token, id .. ' ' .. format('%.0f', granting.fence + used) .. about
  if not call('SET', name, text, 'NX', 'PX', lasts) then return nil, token end
  granting.used, granting.leases[used] = used, name
  granting.scored[2 * used - 1], granting.scored[2 * used] = till, token
  return text, token
end

local function undo()
  if granting.used > 0 then call('DEL', unpack(granting.leases)) end
end

-- Returns the records of the leased tokens, out of the results.
local function granted(results, from)
  local records = {}
  for i = from, #results do
    local result = results[i]
    for at = 1, type(result) == 'table' and #result or 0, 4 do
      local r = record(result[at], AVAILABLE, 0)
      r.state, r.till, r.client = ASSIGNED, result[at + 1], match(result[at + 2], '^%S+ %S+ %S+ %S+ %S+ (.*)$')
      records[#records + 1] = r
    end
  end
  return records
end

-- Puts the metadata of the leased tokens into the results.
local function describeGrants(results, from)
  if not described or granting.used == 0 then return end
  local names = {}
  for n = 1, granting.used do names[n] = keys[8] .. granting.tokens[n] end
  local texts, n = call('MGET', unpack(names)), 0
  for i = from, #results do
    for at = 4, type(results[i]) == 'table' and #results[i] or 0, 4 do
      n = n + 1
      results[i][at] = texts[n] or ''
    end
  end
end

local function commit(results, from)
  if granting.used == 0 then return end
  if policy.labelled or policy.limited then
    local records = granted(results, from)
    describe(records)
    index(records)
  end
  call('ZREM', keys[2], unpack(granting.tokens, 1, granting.used))
  call('ZADD', keys[3], unpack(granting.scored))
  if settling() then call('ZADD', some('fresh'), unpack(granting.scored)) end
end

-- Says how it stands in the pool: when the next token comes back, or -1, since when the lease has lasted that ends
-- first, or 0 if it has not begun or there is none, and whose it is.
function standing()
  local first = call('ZRANGE', leaseSet(), '0', '0')[1]
  local text = first and call('GET', keys[7] .. first) or ''
  local since, client = match(text, '^%S+ %d+ (%d+) %d+ %d+ (.*)$')
  if not since or since == '0' then since, client = '0', '' end
  return format('%.0f %s %s', instant(nextReturn()), since, client)
end

-- Refuses tokens of a lane: how many there are, the place in line or 0, and how many wait.
function noneAvailable(available, place)
  local code = settling() and 'pool_settling' or 'no_token_available'
  return format('%s %d %d %d', code, available, place or 0, howManyWait())
end

function tooMany() return format('too_many %d', policy.max_tokens) end

-- Returns why the client may not have so many tokens, besides those it was granted in this step.
local function forbidden(client, count)
  if count > policy.max_tokens then return tooMany() end
  if not policy.limited then return end
  if client == '' then return 'no_client' end
  local got = granting.clients[client] or 0
  local has = quota(client, count + got)
  if has then return format('quota_exceeded %d %d', has + got, policy.max_leases_per_client) end
end

-- Answers the request at ARGV[i]: with a refusal or its leases. Returns nil and a token if that one's lock is held.
local function grant(args, i)
  local client, count, ttl = args[i], tonumber(args[i + 2]), leaseTime(args[i + 1])
  local left = #granting.tokens - granting.used
  local refused = forbidden(client, count) or left < count and noneAvailable(granting.awaited and supply('') or left)
  if refused then return refused end
  local till, about = now + ttl, ' ' .. digits(now) .. ' ' .. digits(now) .. ' ' .. ttl .. ' ' .. client
  local ends, lasts, result = digits(till), digits(backstop(till)), {}
  for n = 1, count do
    local text, token = lease(args[i + 2 + n], about, ends, lasts)
    if not text then return nil, token end
    result[4 * n - 3], result[4 * n - 2], result[4 * n - 1], result[4 * n] = token, till, text, ''
  end
  granting.clients[client] = (granting.clients[client] or 0) + count
  return result
end

local function wantedBy(args)
  local wanted, i = 0, 2
  while args[i] do
    wanted = wanted + args[i + 2]
    i = i + 3 + args[i + 2]
  end
  return wanted
end

-- tms1_assign answers requests for any tokens in order, each with all the tokens it asks for or with a refusal.
-- ARGV: now, and for each request: client_id, ttl or "", count, and as many lease_ids. At most 1,000 tokens in all.
-- Answer: {now, token_ttl, how it stands for those that are refused (see standing) or "", a result for each request}. A
-- result is an array of token, end of the lease, lease string and metadata for each of its tokens, or a refusal:
-- "no_token_available", how many are, the place in line, how many wait; "pool_settling" and the same; "quota_exceeded",
-- how many leases the client has, and may have; "no_client"; "too_many", and how many the pool may hold. "pool_paused";
-- "again": some expiries were carried out, and nothing was assigned.
local function assign(k, args)
  if not start(k, args[1]) then return NO_POOL end
  if policy.paused then return 'pool_paused' end
  local wanted = wantedBy(args)
  local tokens
  local enough = gather(wanted, function()
    tokens = candidates(keys[2], wanted)
    return #tokens < wanted
  end)
  if not enough or queue and queue.crowded then return 'again' end
  begin(tokens, queue and head(''))
  local results, i = {stamp(), policy.token_ttl_ms, ''}, 2
  while args[i] do
    local result, locked = grant(args, i)
    if not result then
      undo()
      park(locked)
      return 'again'
    end
    results[#results + 1] = result
    i = i + 3 + args[i + 2]
  end
  commit(results, 4)
  describeGrants(results, 4)
  if granting.used < wanted then results[3] = standing() end
  return results
end

register('assign', assign, {})
