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

-- What one assign grants: the first used of the tokens, with their leases. awaited: the tokens that there are belong to
-- waiters.
local granting

local function begin(tokens, awaited)
  granting = {tokens = awaited and {} or tokens, awaited = awaited, used = 0, scored = {}, names = {}, texts = {},
    fence = 0, clients = {}}
  if #granting.tokens > 0 then granting.fence = issue(#granting.tokens) end
end

-- Leases the next candidate. Returns its token if that one's lock is held.
local function lease(id, about, till, lasts)
  local used = granting.used + 1
  local token = granting.tokens[used]
  local name, text = keys[7] .. token, id .. ' ' .. format('%.0f', granting.fence + used) .. about
  if not call('SET', name, text, 'NX', 'PX', lasts) then return token end
  granting.used, granting.names[used], granting.texts[used] = used, name, text
  granting.scored[2 * used - 1], granting.scored[2 * used] = till, token
end

local function undo()
  if granting.used > 0 then call('DEL', unpack(granting.names)) end
end

-- Returns the records of the leased tokens.
local function granted()
  local records = {}
  for n = 1, granting.used do
    local r = record(granting.tokens[n], AVAILABLE, 0)
    r.state, r.till = ASSIGNED, tonumber(granting.scored[2 * n - 1])
    r.client = match(granting.texts[n], '^%S+ %S+ %S+ %S+ %S+ (.*)$')
    records[n] = r
  end
  return records
end

local function commit()
  if granting.used == 0 then return end
  if policy.labelled or policy.limited then
    local records = granted()
    describe(records)
    index(records)
  end
  call('ZREM', keys[2], unpack(granting.tokens, 1, granting.used))
  call('ZADD', keys[3], unpack(granting.scored))
  if settling() then call('ZADD', some('fresh'), unpack(granting.scored)) end
end

-- Returns the metadata of the leased tokens, in their order.
local function metadata()
  if not described or granting.used == 0 then return {} end
  local names = {}
  for n = 1, granting.used do names[n] = keys[8] .. granting.tokens[n] end
  return call('MGET', unpack(names))
end

-- Returns a granted token as the functions answer it: its lease until an instant, in digits, the token and its
-- metadata; to a server of version 1 the elements of a result of its own.
function grantOf(token, ends, text, metadata)
  if not modern then return {token, tonumber(ends), exact(text, tonumber(ends)), metadata or ''} end
  text = ends .. ' ' .. text .. '\n' .. token
  return metadata and metadata ~= '' and text .. '\n' .. metadata or text
end

-- Appends what a request is given, or why it is refused.
function addResult(results, given)
  if type(given) == 'string' then
    results[#results + 1] = given
    return
  end
  local all = modern and results or {}
  for _, grant in ipairs(given) do
    for _, element in ipairs(modern and {grant} or grant) do all[#all + 1] = element end
  end
  if not modern then results[#results + 1] = all end
end

-- Says how it stands in the pool: when the next token comes back, or -1, since when the lease has lasted that ends
-- first, or 0 if it has not begun or there is none, and whose it is.
function standing()
  local first = call('ZRANGE', leaseSet(), '0', '0')[1]
  local text = first and call('GET', keys[7] .. first) or ''
  local since, client = match(text, '^%S+ %d+ (%d+) %S+ %d+ (.*)$')
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

-- Grants the request at ARGV[i] its leases. Returns how many there are, or a refusal. Returns nil and a token if that
-- one's lock is held.
local function grant(args, i)
  local client, count, ttl = args[i], tonumber(args[i + 2]), leaseTime(args[i + 1])
  local left = #granting.tokens - granting.used
  local refused = forbidden(client, count) or left < count and noneAvailable(granting.awaited and supply('') or left)
  if refused then return refused end
  local till, about = now + ttl, ' ' .. digits(now) .. ' ' .. FOLLOWS .. ' ' .. ttl .. ' ' .. client
  local ends, lasts = digits(till), digits(backstop(till))
  for n = 1, count do
    local locked = lease(args[i + 2 + n], about, ends, lasts)
    if locked then return nil, locked end
  end
  endsAt(ASSIGNED, till)
  granting.clients[client] = (granting.clients[client] or 0) + count
  return count
end

local function wantedBy(args)
  local wanted, i = 0, 2
  while args[i] do
    wanted = wanted + args[i + 2]
    i = i + 3 + args[i + 2]
  end
  return wanted
end

-- Returns the answer to requests that were granted so many tokens each, or refused.
local function answerAll(grants, wanted)
  local results, texts, n = {stamp(), policy.token_ttl_ms, granting.used < wanted and standing() or ''}, metadata(), 0
  for _, granted in ipairs(grants) do
    local given = granted
    if type(granted) == 'number' then
      given = {}
      for i = 1, granted do
        n = n + 1
        given[i] = grantOf(granting.tokens[n], granting.scored[2 * n - 1], granting.texts[n], texts[n])
      end
    end
    addResult(results, given)
  end
  return results
end

-- tms1_assign answers requests for any tokens in order, each with all the tokens it asks for or with a refusal.
-- ARGV: now, and for each request: client_id, ttl or "", count, and as many lease_ids. At most 1,000 tokens in all.
-- Answer: {now, token_ttl, how it stands for those that are refused (see standing) or "", the result of each request}.
-- A result is an element for each of its tokens: end of the lease and lease string, a line feed, the token, and behind
-- another line feed the metadata if there are some; or one element that is a refusal, which begins with a letter:
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
  local grants, i = {}, 2
  while args[i] do
    local granted, locked = grant(args, i)
    if not granted then
      undo()
      park(locked)
      return 'again'
    end
    grants[#grants + 1] = granted
    i = i + 3 + args[i + 2]
  end
  commit()
  return answerAll(grants, wanted)
end

register('assign', assign, {})
