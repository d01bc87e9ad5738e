-- Assign, where a request chooses, queues, or can be repeated. It could answer any request, but takes half as much
-- again of Redis' time for a plain one, and twice as much in a batch: hence there is tms1_assign. See
-- docs/benchmarks.md.

-- Returns the requests of ARGV.
local function requests(args)
  local list, i = {}, 3
  while args[i] do
    local request = {client = args[i], ttl = args[i + 1], count = tonumber(args[i + 2]), lane = args[i + 3],
      prefer = args[i + 4], id = args[i + 5], print = args[i + 6], ticket = args[i + 7], ids = {}}
    for n = 1, request.count do request.ids[n] = args[i + 7 + n] end
    list[#list + 1] = request
    i = i + 8 + request.count
  end
  return list
end

-- Carries out the returns that the requests need. Returns false if it stopped because it touched enough.
local function prepare(list)
  local total, wanted, named, tickets = 0, {}, {}, {}
  for _, request in ipairs(list) do
    total = total + request.count
    wanted[request.lane] = (wanted[request.lane] or 0) + request.count
    if request.prefer ~= '' then named[#named + 1] = request.prefer end
    if request.ticket ~= '' then tickets[#tickets + 1] = request.ticket end
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
  handOff()
  readTickets(tickets)
  return enough
end

-- Returns what the request is given.
local function given(records)
  describe(records)
  local list = {}
  for i, r in ipairs(records) do list[i] = grantOf(r.token, digits(r.till), r.text, r.metadata) end
  return list
end

-- Before a ticket this makes the name of what it was given, which is none that a request can have.
local TICKET_MARK = '\n'

-- Remembers the leases that the request was given, and returns its result.
local function fulfil(request, records)
  local leases = {}
  for i, r in ipairs(records) do leases[2 * i - 1], leases[2 * i] = r.token, match(r.text, '^%S+') end
  if request.id ~= '' then
    remember(request.id, request.print, leases)
  elseif request.ticket ~= '' then
    remember(TICKET_MARK .. request.ticket, request.print, leases, ANSWER)
  end
  return given(records)
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
    if not r or r.state ~= ASSIGNED or r.id ~= leases[2 * i] or inherited(r) then return 'lease_ended' end
    records[i] = r
  end
  return given(records)
end

-- Refuses what the policy does not let anybody ask for.
local function check(request)
  if request.count > policy.max_tokens then return tooMany() end
  local lane, named = request.lane, 0
  while lane ~= '' do
    local size, rest = match(lane, '^(%d+):(.*)$')
    local text = sub(rest, 1, tonumber(size))
    lane, named = sub(rest, #text + 1), named + 1
    if named % 2 == 1 and not (policy.labelled and policy.label[text]) then return 'no_label ' .. text end
  end
  if policy.limited and request.client == '' then return 'no_client' end
end

-- Begins the leases of the tokens that the ticket was handed. Returns their records, or nil if they are no longer all
-- there, or if another process handed them, so that they may have been picked up.
local function pickUp(ticket, request)
  local records = offered(ticket)
  if #records < request.count or inherited(records[1]) then return nil end
  local ttl = leaseTime(request.ttl)
  for _, r in ipairs(records) do
    r.till, r.seen, r.touched = now + ttl, now, true
    r.text = leaseText(match(r.text, '^%S+ %d+ ') .. digits(now), r.seen, ttl, request.client, r.till)
  end
  save(records)
  dismiss(ticket)
  return records
end

-- Gives the request a ticket, which stands nowhere yet.
local function join(request, inbox)
  local asked = {client = request.client, ttl = request.ttl, count = request.count, lane = request.lane,
    prefer = request.prefer, ids = request.ids, number = call('HINCRBY', keys[1], 'joined', 1), since = now}
  local ticket = {id = request.ticket, print = request.print, inbox = inbox, json = cjson.encode(asked),
    request = asked}
  queue.open = queue.open or call('HSET', keys[1], 'queue', '1') and true
  queue.tickets[ticket.id] = ticket
  writeTicket(ticket)
  return ticket
end

-- Lets the request's ticket take or keep its place. Returns the refusal that says which.
local function queueUp(request, ticket, inbox)
  if not ticket and request.ticket == '' then return noneAvailable(supply(request.lane)) end
  ticket = ticket or join(request, inbox)
  if ticket.inbox ~= inbox then
    ticket.inbox = inbox
    writeTicket(ticket)
  end
  show(ticket, now + PRESENCE)
  reach()
  return noneAvailable(supply(request.lane), placeOf(ticket))
end

-- Gives the request tokens if it is its turn.
local function grant(request, ticket, inbox)
  local has = quota(request.client, request.count)
  if has then
    if ticket then dismiss(ticket) end
    return format('quota_exceeded %d %d', has, policy.max_leases_per_client)
  end
  local records = turn(request.lane, ticket and requestOf(ticket).number) and give(request)
  if not records then return queueUp(request, ticket, inbox) end
  if ticket then dismiss(ticket) end
  local result = fulfil(request, records)
  serveAll({[request.lane] = true})
  return result
end

-- Answers a ticket that has left the queue with what it was given, or returns nil where that is not remembered or has
-- ended since.
local function answerAgain(request)
  if request.id ~= '' or request.ticket == '' or ticketOf(request.ticket) then return end
  local leases, reused = recall(TICKET_MARK .. request.ticket, request.print)
  local result = reused or leases and replay(leases)
  if result ~= 'lease_ended' then return result end
end

-- Answers one request. The order of the decisions is that of rules.Assign.
local function answer(request, inbox)
  local leases, reused = recall(request.id, request.print)
  if leases then return replay(leases) end
  local again = answerAgain(request)
  if again then return again end
  local refused = reused or policy.paused and 'pool_paused' or check(request)
  if refused then return refused end
  local ticket = request.ticket ~= '' and ticketOf(request.ticket)
  if ticket and ticket.till < now then
    leave(ticket, ticket.place ~= 'absent' and keptAfter(ticket.till) or nil)
    ticket = ticketOf(request.ticket)
  end
  if ticket and ticket.print ~= request.print then return 'request_id_reused' end
  if ticket and ticket.place == 'handed' then
    local records = pickUp(ticket, request)
    if records then return fulfil(request, records) end
    leave(ticket, now + TICKET)
  end
  return grant(request, ticket, inbox)
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
  local list = requests(args)
  queue = queue or newQueue(false)
  if not policy.paused and (not prepare(list) or queue.crowded) then return 'again' end
  local results = {stamp(), policy.token_ttl_ms, ''}
  local lacking = false
  for _, request in ipairs(list) do
    local result = answer(request, args[2])
    lacking = lacking or type(result) == 'string'
    addResult(results, result)
    handOff()
  end
  if lacking then results[3] = standing() end
  return results
end

register('claim', claim, {})
