-- Walking over the sets.

-- Returns how many tokens the pool holds.
local function size()
  local n = 0
  for state = AVAILABLE, QUARANTINED do n = n + call('ZCARD', set(state)) end
  return n
end

-- Returns the rank of the first token of a set after a place in it, whether or not a token stands there: one that sorts
-- right behind the place is put there for the moment. No value holds a control character.
local function rankAfter(key, at, value)
  if value == '' then return 0 end
  local mark = value .. '\0'
  call('ZADD', key, at, mark)
  local rank = call('ZRANK', key, mark)
  call('ZREM', key, mark)
  return rank
end

-- Appends at most limit records of a set of tokens in that state, from a rank on. Returns true if there are more.
local function list(records, key, state, rank, limit)
  local found = call('ZRANGE', key, rank, rank + limit, 'WITHSCORES')
  for i = 1, min(#found, 2 * limit), 2 do
    records[#records + 1] = record(found[i], state, tonumber(found[i + 1]))
  end
  return #found > 2 * limit
end

-- Puts what is remembered of their leases into the records, with their history where that is to be told.
local function recollect(records, whole)
  if #records == 0 then return end
  for i, text in ipairs(pasts(records)) do
    records[i].past = match(text or '', '^[^\n]*')
    if whole then records[i].history = told(text or '') end
  end
end
