-- Expire and list.

-- tms1_expire is one sweep.
-- ARGV: now, limit (at most 1,000).
-- It also lets at most 1,000 tickets age, and forgets as many requests as limit says, at most.
-- Answer: {now, released, quarantined, deleted, next deadline or -1, the oldest deadline before the sweep or -1}.
local function sweep(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local limit, oldest = tonumber(args[2]), nextDeadline()
  local next = oldest
  catchUp()
  forget(limit)
  if oldest < now then expire(limit) end
  local done = {released, quarantined, deleted}
  finish()
  if oldest < now or queue then next = nextDeadline() end
  if queue and queue.open then next = min(next, firstScore(some('waiting')), firstScore(some('absent'))) end
  return {stamp(), done[1], done[2], done[3], instant(next), instant(oldest)}
end

-- tms1_tokens lists tokens by state, then by instant, then by value.
-- ARGV: now, limit (at most 1,000), client_id or "", the instant and the value after which the first state is listed,
-- or "" twice, the states.
-- Answer: {now, token_ttl, 1 if there are more, state, instant and value of the last token looked at (0, 0 and "" if
-- none was), and for each token that belongs to the client: value, token with its past}; "again": some expiries were
-- carried out.
local function tokens(k, args)
  if not start(k, args[1]) then return NO_POOL end
  local swept = expire(STEP)
  if swept == STEP and nextDeadline() < now then return 'again' end
  local limit, records, more = tonumber(args[2]), {}, false
  for i = 6, #args do
    local state = tonumber(args[i])
    local key = args[3] ~= '' and policy.limited and some('client:' .. args[3]) or set(state)
    local rank = i == 6 and rankAfter(key, args[4], args[5]) or 0
    more = list(records, key, state, rank, limit - #records)
    if more then break end
  end
  read(records)
  if not policy.labelled then describe(records) end
  recollect(records)
  local last = records[#records] or {was = 0, score = 0, token = ''}
  local page = {stamp(), policy.token_ttl_ms, more and 1 or 0, last.was, last.score, last.token}
  for _, r in ipairs(records) do
    if args[3] == '' or r.client == args[3] then
      page[#page + 1] = r.token
      page[#page + 1] = reply(r)
    end
  end
  return page
end

-- tms1_waiters lists who waits.
-- ARGV: now, limit (at most 1,000).
-- Answer: {now, and for each of at most so many tickets that wait: its place in its line, and JSON of what it asks
-- for}; "again": some expiries were carried out.
local function waiters(k, args)
  if not start(k, args[1]) then return NO_POOL end
  if queue and queue.crowded then return 'again' end
  local answer = {stamp()}
  if not queue or not queue.open then return answer end
  local ids = call('ZRANGE', some('waiting'), '0', args[2] - 1)
  readTickets(ids)
  for _, id in ipairs(ids) do
    local ticket = queue.tickets[id]
    if ticket then
      answer[#answer + 1] = placeOf(ticket)
      answer[#answer + 1] = ticket.json
    end
  end
  return answer
end

register('waiters', waiters)
register('expire', sweep)
register('tokens', tokens)
