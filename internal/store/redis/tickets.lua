-- Tickets: where they stand, and how they come there, grow old and leave.

-- What a step knows of the queue. tickets: those that it has read, false for one that is not there. heads: the
-- first ticket of a line, false for none. supplies: how many tokens of a lane can be assigned. freed: the tokens that
-- the step has made available. kept: a ticket has left that tokens were kept back for. tidied: those whose time is over
-- were looked for. crowded: there are more than one step may age, or move, so that nobody's turn is known. measured:
-- those who want more than the pool holds stand beside the line. budget: how many tokens the step may still hand.
-- waiting: how many wait. open: the pool has tickets. left: some have left. owes: a step before this one could not hand
-- out all that it made available. lines: see keptLanes.
function newQueue(open)
  return {tickets = {}, heads = {}, supplies = {}, freed = {}, kept = false, tidied = false, crowded = false,
    measured = false, budget = share, open = open, waiting = nil, left = false, owes = false, lines = nil}
end

-- A request is what is asked for: client, ttl, count, lane, prefer, ids. That of a ticket also has its number, and its
-- offer: the tokens that it was handed.

-- A ticket is one place in the queue as this step sees it: place says in which set it stands, till its score there.
local function newTicket(id, text)
  local print, inbox, json = match(text, '^(%S+) (%S+) (.*)$')
  return {id = id, print = print, inbox = inbox, json = json, place = nil, till = 0, request = nil}
end

-- Finds out where those of the tickets stand that are not known to stand elsewhere.
local function locate(place, tickets)
  local ids, left = {}, {}
  for i, ticket in ipairs(tickets) do ids[i] = ticket.id end
  for i, till in ipairs(#ids > 0 and call('ZMSCORE', some(place), unpack(ids)) or {}) do
    if till then tickets[i].place, tickets[i].till = place, tonumber(till) else left[#left + 1] = tickets[i] end
  end
  return left
end

-- Reads tickets that the step has not read yet.
local function readTickets(ids)
  local unread = {}
  for _, id in ipairs(ids) do
    if queue.tickets[id] == nil then
      queue.tickets[id] = false
      unread[#unread + 1] = id
    end
  end
  if #unread == 0 or not queue.open then return end
  local texts, tickets = call('HMGET', some('tickets'), unpack(unread)), {}
  for i, id in ipairs(unread) do
    if texts[i] then
      queue.tickets[id] = newTicket(id, texts[i])
      tickets[#tickets + 1] = queue.tickets[id]
    end
  end
  locate('absent', locate('handed', locate('waiting', tickets)))
end

local function ticketOf(id)
  if queue.tickets[id] == nil then readTickets({id}) end
  return queue.tickets[id]
end

local function requestOf(ticket)
  ticket.request = ticket.request or cjson.decode(ticket.json)
  return ticket.request
end

-- Returns the place of a waiting ticket in its line; of one beside it, the place that it would have there.
local function placeOf(ticket)
  local request = requestOf(ticket)
  local line = some('line:' .. request.lane)
  local before = call('ZRANK', line, ticket.id) or call('ZCOUNT', line, '-inf', '(' .. digits(request.number))
  return before + 1
end

local function writeTicket(ticket)
  call('HSET', some('tickets'), ticket.id, ticket.print .. ' ' .. ticket.inbox .. ' ' .. ticket.json)
end

local function howManyWait()
  if not queue or not queue.open then return 0 end
  queue.waiting = queue.waiting or call('ZCARD', some('waiting'))
  return queue.waiting
end

-- Reports whether the request is for several tokens of any kind: for those others are kept waiting.
local function several(request) return request.lane == '' and request.count > 1 end

-- Takes the ticket out of the set in which it stands, and out of its line. One who waited for several and waits no
-- longer may have had some kept back.
local function leavePlace(ticket)
  local request = requestOf(ticket)
  if ticket.place == 'waiting' then
    howManyWait()
    queue.waiting, queue.heads[request.lane] = queue.waiting - 1, nil
    call('ZREM', some('line:' .. request.lane), ticket.id)
    if several(request) then
      queue.kept = true
      call('ZREM', some('several'), ticket.id)
      call('ZREM', some('beyond'), ticket.id)
    end
  end
  if ticket.place then call('ZREM', some(ticket.place), ticket.id) end
  ticket.place = nil
end

-- Puts the ticket into its line, unless it stands there, and lets it wait until an instant.
local function show(ticket, till)
  local request = requestOf(ticket)
  if ticket.place ~= 'waiting' then
    if ticket.place then call('ZREM', some(ticket.place), ticket.id) end
    queue.waiting, queue.heads[request.lane] = howManyWait() + 1, nil
    call('ZADD', some('line:' .. request.lane), request.number, ticket.id)
    if several(request) then
      queue.measured = false
      call('ZADD', some('several'), request.count, ticket.id)
    end
    if queue.lines then queue.lines[request.lane] = true end
  end
  ticket.place, ticket.till = 'waiting', till
  call('ZADD', some('waiting'), digits(till), ticket.id)
end

-- Takes the ticket out of the queue.
local function dismiss(ticket)
  leavePlace(ticket)
  call('HDEL', some('tickets'), ticket.id)
  queue.tickets[ticket.id], queue.left = false, true
end

-- Reports whether the token is still on its way to the ticket, as the request's nth. Of one that was not picked up in
-- time, Redis may have removed the lease string.
local function underway(ticket, request, n, r)
  if r.was ~= ASSIGNED then return false end
  return r.at == '0' and r.id == request.ids[n] or r.id == '-' and ticket.till < now and r.score == ticket.till
end

-- Returns those of the tokens that the ticket was handed and that nobody has taken back since.
local function offered(ticket)
  local request, records = requestOf(ticket), {}
  if not request.offer then return records end
  local found = find(request.offer)
  read(found)
  for i, token in ipairs(request.offer) do
    local r = found[token]
    if r and underway(ticket, request, i, r) then records[#records + 1] = r end
  end
  return records
end

-- Makes the ticket absent: it keeps its place until an instant, if that is not over, and is handed nothing.
local function excuse(ticket, till)
  if till < now then return dismiss(ticket) end
  leavePlace(ticket)
  if ticket.request.offer then
    ticket.request.offer = nil
    ticket.json = cjson.encode(ticket.request)
    writeTicket(ticket)
  end
  ticket.place, ticket.till = 'absent', till
  call('ZADD', some('absent'), digits(till), ticket.id)
end

-- Makes the ticket absent until an instant, or takes it out of the queue where none is given. What it was handed comes
-- back, as if it had never been handed. Returns how many tokens that were.
local function leave(ticket, till)
  local records = offered(ticket)
  if till then excuse(ticket, till) else dismiss(ticket) end
  for _, r in ipairs(records) do r.state = AVAILABLE end
  if #records > 0 then save(records) end
  return #records
end

-- Returns at most limit tickets of a set whose time is over.
local function over(set, limit)
  local ids = call('ZRANGEBYSCORE', some(set), '-inf', '(' .. digits(now), 'LIMIT', '0', limit)
  readTickets(ids)
  local tickets = {}
  for i, id in ipairs(ids) do tickets[i] = queue.tickets[id] end
  return tickets
end

-- Returns until when a ticket keeps its place that was present until an instant.
local function keptAfter(present) return present + TICKET - PRESENCE end

-- Takes back at most about limit tokens that nobody has picked up in time. Returns how many.
function lapse(limit)
  local done = 0
  for _, ticket in ipairs(over('handed', limit)) do
    if done >= limit then break end
    done = done + max(1, leave(ticket, keptAfter(ticket.till)))
  end
  return done
end

-- Lets at most limit tickets age that are present no longer, and as many that are absent. Returns how many of the
-- former.
local function tidy(limit)
  for _, ticket in ipairs(over('absent', limit)) do dismiss(ticket) end
  local tickets = over('waiting', limit)
  for _, ticket in ipairs(tickets) do excuse(ticket, keptAfter(ticket.till)) end
  return #tickets
end
