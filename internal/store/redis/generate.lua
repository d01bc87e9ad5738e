-- Generate.

local function room()
  return policy.max_tokens - call('ZCARD', keys[2]) - call('ZCARD', keys[3]) - call('ZCARD', keys[4])
    - call('ZCARD', keys[5])
end

-- Returns ARGV's tokens without repetitions, in lists of at most STEP.
local function distinct(args, stride)
  local known, lists, list = {}, {}, nil
  for i = 3, #args, stride do
    if not known[args[i]] then
      if not list or #list == STEP then
        list = {}
        lists[#lists + 1] = list
      end
      known[args[i]] = i
      list[#list + 1] = args[i]
    end
  end
  return lists, known
end

-- Writes the metadata of new tokens: at says where a token stands in ARGV.
local function remember(args, at, tokens)
  local strings = {}
  for _, token in ipairs(tokens) do
    local text = args[at[token] + 1]
    if text ~= '' then
      strings[#strings + 1] = keys[8] .. token
      strings[#strings + 1] = text
    end
  end
  if #strings == 0 then return end
  call('MSET', unpack(strings))
  if not described then call('HSET', keys[1], 'metadata', '1') end
  described = '1'
end

local function create(tokens)
  local scored = {}
  for i, token in ipairs(tokens) do scored[2 * i - 1], scored[2 * i] = digits(now), token end
  if #tokens > 0 then call('ZADD', keys[2], unpack(scored)) end
end

local function touch(r)
  if r.state == QUARANTINED then return end
  r.seen, r.touched = now, true
  if r.state == ASSIGNED then r.text = r.head .. ' ' .. digits(now) .. ' ' .. r.tail end
end

-- Settles the tokens of one list and splits them into new ones and records of those that live.
local function split(tokens)
  local found, new, living = find(tokens), {}, {}
  settleAll(found)
  save(found)
  for _, token in ipairs(tokens) do
    local r = found[token]
    if r and r.state then living[#living + 1] = r else new[#new + 1] = token end
  end
  return {new = new, living = living}
end

-- tms1_generate puts tokens into the pool, all or none; of those that exist it winds the token clock.
-- ARGV: now, 1 if metadata is given or "", the tokens; with metadata, each token is followed by its own or "".
-- Answer: {now, token_ttl, created}; "again" if tokens of a full pool are due to expire, of which it expired some;
-- "pool_full".
local function generate(k, args)
  if not open(k, args[1]) then return NO_POOL end
  local lists, at = distinct(args, args[2] == '' and 1 or 2)
  local parts, created = {}, 0
  for i, list in ipairs(lists) do
    parts[i] = split(list)
    created = created + #parts[i].new
  end
  if created > 0 and created > room() then
    local swept = sweep(STEP)
    tally()
    return swept > 0 and 'again' or 'pool_full'
  end
  for _, part in ipairs(parts) do
    create(part.new)
    if args[2] ~= '' then remember(args, at, part.new) end
    for _, r in ipairs(part.living) do touch(r) end
    save(part.living)
  end
  tally()
  return {now, policy.token_ttl_ms, created}
end

register('generate', generate, {})
