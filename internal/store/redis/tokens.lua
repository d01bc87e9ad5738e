-- Expire, look up and list.

-- tms1_expire is one sweep.
-- ARGV: now, limit (at most 1,000).
-- Answer: {now, released, quarantined, deleted, next deadline or -1, the oldest deadline before the sweep or -1}.
local function expire(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local oldest = nextDeadline()
  local next = oldest
  if oldest < now then
    sweep(tonumber(args[2]))
    tally()
    next = nextDeadline()
  end
  return {now, released, quarantined, deleted, instant(next), instant(oldest)}
end

-- tms1_token returns one token.
-- ARGV: now, token.
-- Answer: {now, token_ttl, the token}, or "token_not_found".
local function token(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local found = find({args[2]})
  settleAll(found)
  save(found)
  tally()
  local r = found[args[2]]
  if not r or not r.state then return 'token_not_found' end
  describe(found)
  return {now, policy.token_ttl_ms, answer(r)}
end

-- Returns the rank of the first token of a set after a place in it, whether or not a token stands there: one that sorts
-- right behind the place is put there for the moment. No value holds a control character.
local function rankAfter(state, at, value)
  if value == '' then return 0 end
  local mark = value .. '\0'
  call('ZADD', set(state), at, mark)
  local rank = call('ZRANK', set(state), mark)
  call('ZREM', set(state), mark)
  return rank
end

-- Appends at most limit records of a set, from a rank on. Returns true if there are more.
local function list(records, state, rank, limit)
  local found = call('ZRANGE', set(state), rank, rank + limit, 'WITHSCORES')
  for i = 1, min(#found, 2 * limit), 2 do
    records[#records + 1] = record(found[i], state, tonumber(found[i + 1]))
  end
  return #found > 2 * limit
end

-- tms1_tokens lists tokens by state, then by instant, then by value.
-- ARGV: now, limit (at most 1,000), client_id or "", the instant and the value after which the first state is listed,
-- or "" twice, the states.
-- Answer: {now, token_ttl, 1 if there are more, state, instant and value of the last token looked at (0, 0 and "" if
-- none was), and for each token that belongs to the client: value, token}; "again": some expiries were carried out.
local function tokens(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local swept = sweep(STEP)
  tally()
  if swept == STEP and nextDeadline() < now then return 'again' end
  local limit, records, more = tonumber(args[2]), {}, false
  for i = 6, #args do
    local state = tonumber(args[i])
    local rank = i == 6 and rankAfter(state, args[4], args[5]) or 0
    more = list(records, state, rank, limit - #records)
    if more then break end
  end
  read(records)
  describe(records)
  local last = records[#records] or {was = 0, score = 0, token = ''}
  local page = {now, policy.token_ttl_ms, more and 1 or 0, last.was, last.score, last.token}
  for _, r in ipairs(records) do
    if args[3] == '' or match(r.text, '^%S+ %d+ %d+ %d+ %d+ (.*)$') == args[3] then
      page[#page + 1] = r.token
      page[#page + 1] = answer(r)
    end
  end
  return page
end

register('expire', expire)
register('token', token)
register('tokens', tokens)
