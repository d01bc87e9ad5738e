-- Generate.

-- What ARGV says beyond the tokens: that each brings metadata, that those that are there get it as well, and that TMS
-- drew the values, so that nobody can hold one that is new.
local brings, update, drawn

local function readFlags(flags)
  brings, update, drawn = match(flags, '^[12]') ~= nil, sub(flags, 1, 1) == '2', sub(flags, -1) == 'd'
end

-- Returns the last sign of life of a new token: a value that a caller brings may be one that was lost and is held.
local function born() return settling() and not drawn and oldSide() or now end

local function room() return policy.max_tokens - size() end

-- Returns ARGV's tokens, from a place on, without repetitions in lists of at most STEP.
local function distinct(args, from, stride)
  local known, lists, list = {}, {}, nil
  for i = from, #args, stride do
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
local function inscribe(args, at, tokens)
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

-- Puts new tokens into the pool, with what goes by their metadata.
local function enlist(args, at, tokens)
  local records = {}
  for i, token in ipairs(tokens) do
    local r = record(token, AVAILABLE, born())
    r.was, r.metadata = nil, brings and args[at[token] + 1]
    records[i] = r
  end
  save(records)
end

local function create(args, at, tokens)
  if policy.labelled or queue then return enlist(args, at, tokens) end
  local scored = {}
  for i, token in ipairs(tokens) do scored[2 * i - 1], scored[2 * i] = digits(born()), token end
  if #tokens > 0 then call('ZADD', keys[2], unpack(scored)) end
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

-- Gives a token that lives other metadata.
local function relabel(r, text)
  if policy.labelled and r.was == AVAILABLE then r.oldLanes = lanesOf(r) end
  r.metadata, r.lanes = text, nil
end

-- Compares the metadata of tokens that live with what is brought for them, and takes over what is brought if ARGV says
-- so. Returns how many differ.
local function amend(args, at, living)
  if not policy.labelled then describe(living) end
  local differing, amended = 0, {}
  for _, r in ipairs(living) do
    local text = args[at[r.token] + 1]
    if text ~= '' and text ~= (r.metadata or '') then
      differing = differing + 1
      if update then
        relabel(r, text)
        amended[#amended + 1] = r.token
      end
    end
  end
  inscribe(args, at, amended)
  return differing
end

-- Puts all tokens of ARGV into the pool. Returns how many are new, why none was put there, and how many of those that
-- were there differ.
local function putAll(args)
  local lists, at = distinct(args, 6, brings and 2 or 1)
  local parts, created, differing = {}, 0, 0
  for i, list in ipairs(lists) do
    parts[i] = split(list)
    created = created + #parts[i].new
  end
  if created > 0 and created > room() then return nil, expire(STEP) > 0 and 'again' or 'pool_full' end
  for _, part in ipairs(parts) do
    create(args, at, part.new)
    if brings then
      inscribe(args, at, part.new)
      differing = differing + amend(args, at, part.living)
    end
    for _, r in ipairs(part.living) do touch(r) end
    save(part.living)
  end
  return created, nil, differing
end

local LABELLED = 1000 -- tms.MaxLabelledBatch

-- tms1_generate puts tokens into the pool, all or none; of those that exist it winds the token clock.
-- ARGV: now, request_id or "", the request's print, the seed of the values that were missing, 1 if metadata is given, 2
-- if tokens that are there get it as well, or "", and "d" behind that if all values were drawn; the tokens; with
-- metadata, each token is followed by its own or "".
-- Answer: {now, created, when the token clocks run out or -1, seed, how many tokens that are there had other metadata},
-- all of them those of the first time if the request is repeated; "again" if tokens of a full pool are due to expire,
-- of which it expired some; "pool_full"; "request_id_reused"; "too_many_labelled".
local function generate(k, args)
  if not start(k, args[1]) then return NO_POOL end
  readFlags(args[5])
  local past, reused = recall(args[2], args[3])
  if reused or past and not past.seed then return 'request_id_reused' end
  if past then return {stamp(), past.created, past.expires, past.seed, past.differing or 0} end
  if policy.labelled and #args - 5 > LABELLED * (brings and 2 or 1) then return 'too_many_labelled' end
  local created, refused, differing = putAll(args)
  local made = {created = created, expires = instant(wound(now) + policy.clock), seed = args[4], differing = differing}
  if created then remember(args[2], args[3], made) end
  return refused or {stamp(), created, made.expires, made.seed, differing}
end

register('generate', generate, {})
