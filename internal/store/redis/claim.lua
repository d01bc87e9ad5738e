-- Assign, where a request chooses, queues, or can be repeated.

-- Returns the wishes of ARGV.
local function wishes(args)
  local list, i = {}, 3
  while args[i] do
    local w = {client = args[i], ttl = args[i + 1], count = tonumber(args[i + 2]), lane = args[i + 3],
      prefer = args[i + 4], id = args[i + 5], print = args[i + 6], ticket = args[i + 7], ids = {}}
    for n = 1, w.count do w.ids[n] = args[i + 7 + n] end
    list[#list + 1] = w
    i = i + 8 + w.count
  end
  return list
end

-- Carries out the returns that the wishes need. Returns false if it stopped because it touched enough.
local function prepare(list)
  local total, wanted, named, tickets = 0, {}, {}, {}
  for _, w in ipairs(list) do
    total = total + w.count
    wanted[w.lane] = (wanted[w.lane] or 0) + w.count
    if w.prefer ~= '' then named[#named + 1] = w.prefer end
    if w.ticket ~= '' then tickets[#tickets + 1] = w.ticket end
  end
  local enough = gather(total, function()
    for lane, count in pairs(wanted) do
      if supply(lane) < count then return true end
    end
  end)
  if #named > 0 then
    local found = find(named)
    settleAll(found)
    save(found)
  end
  handOut()
  seatAll(tickets)
  return enough
end

-- Returns a result of tokens.
local function quads(records)
  describe(records)
  local result = {}
  for i, r in ipairs(records) do
    result[4 * i - 3], result[4 * i - 2], result[4 * i - 1], result[4 * i] = r.token, r.till, r.text, r.metadata or ''
  end
  return result
end

-- Before a ticket this makes the name of what it was given, which is none that a request can have.
local TICKET_MARK = '\n'

-- Remembers the leases that the wish was given, and returns its result.
local function fulfil(w, records)
  local leases = {}
  for i, r in ipairs(records) do leases[2 * i - 1], leases[2 * i] = r.token, match(r.text, '^%S+') end
  if w.id ~= '' then
    remember(w.id, w.print, leases)
  elseif w.ticket ~= '' then
    remember(TICKET_MARK .. w.ticket, w.print, leases, ANSWER)
  end
  return quads(records)
end

-- Answers a request that was carried out before with its leases as they now stand.
local function replay(leases)
  if #leases == 0 then return 'lease_ended' end
  local tokens, records = {}, {}
  for i = 1, #leases, 2 do tokens[#tokens + 1] = leases[i] end
  local found = find(tokens)
  settleAll(found)
  save(found)
  for i, token in ipairs(tokens) do
    local r = found[token]
    if not r or r.state ~= ASSIGNED or r.id ~= leases[2 * i] then return 'lease_ended' end
    records[i] = r
  end
  return quads(records)
end

-- Refuses what the policy does not let anybody ask for.
local function check(w)
  if w.count > policy.max_tokens then return tooMany() end
  local lane, named = w.lane, 0
  while lane ~= '' do
    local size, rest = match(lane, '^(%d+):(.*)$')
    local text = sub(rest, 1, tonumber(size))
    lane, named = sub(rest, #text + 1), named + 1
    if named % 2 == 1 and not (policy.labelled and policy.label[text]) then return 'no_label ' .. text end
  end
  if policy.limited and w.client == '' then return 'no_client' end
end

-- Begins the leases of the tokens that the ticket was handed. Returns their records, or nil if they are no longer all
-- there.
local function pickUp(s, w)
  local records = offered(s)
  if #records < w.count then return nil end
  local ttl = leaseTime(w.ttl)
  for _, r in ipairs(records) do
    r.till, r.seen, r.touched = now + ttl, now, true
    r.text = match(r.text, '^%S+ %d+ ') .. digits(now) .. ' ' .. digits(r.seen) .. ' ' .. ttl .. ' ' .. w.client
  end
  save(records)
  drop(s)
  return records
end

-- Gives the wish a ticket, which stands nowhere yet.
local function join(w, inbox)
  local wish = {client = w.client, ttl = w.ttl, count = w.count, lane = w.lane, prefer = w.prefer, ids = w.ids,
    number = call('HINCRBY', keys[1], 'joined', 1)}
  local s = {ticket = w.ticket, print = w.print, inbox = inbox, json = cjson.encode(wish), wish = wish}
  queue.open = queue.open or call('HSET', keys[1], 'queue', '1') and true
  queue.seats[w.ticket] = s
  writeSeat(s)
  return s
end

-- Lets the request's ticket take or keep its place. Returns the refusal that says which.
local function queueUp(w, s, inbox)
  if not s and w.ticket == '' then return noneAvailable(supply(w.lane)) end
  s = s or join(w, inbox)
  if s.inbox ~= inbox then
    s.inbox = inbox
    writeSeat(s)
  end
  show(s, now + PRESENCE)
  reach()
  local line = some('line:' .. w.lane)
  local ahead = call('ZRANK', line, w.ticket) or call('ZCOUNT', line, '-inf', '(' .. digits(wishOf(s).number))
  return noneAvailable(supply(w.lane), ahead + 1)
end

-- Gives the wish tokens if it is its turn.
local function grantWish(w, s, inbox)
  local has = overQuota(w.client, w.count)
  if has then
    if s then drop(s) end
    return format('quota_exceeded %d %d', has, policy.max_leases_per_client)
  end
  local records = turn(w.lane, s and wishOf(s).number) and give(w)
  if not records then return queueUp(w, s, inbox) end
  if s then drop(s) end
  local result = fulfil(w, records)
  serve({[w.lane] = true})
  return result
end

-- Answers a ticket that has left the queue with what it was given, or returns nil where that is not remembered or has ended
-- since.
local function answerAgain(w)
  if w.id ~= '' or w.ticket == '' or seatOf(w.ticket) then return end
  local leases, reused = recall(TICKET_MARK .. w.ticket, w.print)
  local result = reused or leases and replay(leases)
  if result ~= 'lease_ended' then return result end
end

local function claimOne(w, inbox)
  local leases, reused = recall(w.id, w.print)
  if leases then return replay(leases) end
  local again = answerAgain(w)
  if again then return again end
  local refused = reused or policy.paused and 'pool_paused' or check(w)
  if refused then return refused end
  local s = w.ticket ~= '' and seatOf(w.ticket)
  if s and s.till < now then
    dismiss(s, s.place ~= 'absent' and keptAfter(s.till) or nil)
    s = seatOf(w.ticket)
  end
  if s and s.print ~= w.print then return 'request_id_reused' end
  if s and s.place == 'handed' then
    local records = pickUp(s, w)
    if records then return fulfil(w, records) end
    dismiss(s, now + TICKET)
  end
  return grantWish(w, s, inbox)
end

-- tms1_claim answers requests in order, each with all the tokens it asks for, with those that its ticket was handed or
-- that it was given before, or with a refusal. A ticket that has to wait joins the queue or keeps its place.
-- ARGV: now, the inbox that is to hear when a ticket should be shown again, and for each request: client_id, ttl or
-- "", count, lane, the token it prefers or "", request_id or "", its print, ticket or "", and as many lease_ids as
-- count says. At most 1,000 tokens in all.
-- Answer: as that of tms1_assign, with these refusals besides: "request_id_reused"; "lease_ended", where a lease that
-- was given before is there no more; "no_label" and a key that is none; "pool_paused".
local function claim(k, args)
  if not start(k, args[1]) then return NO_POOL end
  local list = wishes(args)
  queue = queue or newQueue(false)
  if not policy.paused and (not prepare(list) or queue.crowded) then return 'again' end
  local results = {now, policy.token_ttl_ms, ''}
  local lacking = false
  for i, w in ipairs(list) do
    results[3 + i] = claimOne(w, args[2])
    lacking = lacking or type(results[3 + i]) == 'string'
    handOut()
  end
  if lacking then results[3] = standing() end
  return results
end

register('claim', claim, {})
