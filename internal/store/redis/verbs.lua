-- Look up, keep-alive, unblock, restore and delete.

local STRICT = '\n' -- in the place of a lease_id: there is none, and it is required
local FORCE = '\r' -- in the place of a lease_id, before the name of a key: there is none, and that key acts by force

-- Returns what was sent in the place of a lease_id, and the key that acts by force.
local function proof(id)
  if sub(id, 1, 1) == FORCE then return '', sub(id, 2) end
  return id
end

-- Refuses a lease_id that is not the present lease's.
local function lookup(r, id)
  if id ~= '' and id ~= STRICT and (r.state ~= ASSIGNED or id ~= r.id or id == '-') then return 'lease_lost' end
end

-- Refuses, too, a missing lease_id where it is required, or where the token is on its way to whom it was handed.
local function mayAct(r, id)
  local code = lookup(r, id)
  if code or r.state ~= ASSIGNED or id ~= '' and id ~= STRICT then return code end
  if r.at == '0' then return 'handed' end
  if policy.require_lease_id or id == STRICT then return 'not_holder' end
end

local function prolong(r, ttl)
  local till = now + lasts(bound(tonumber(ttl == '' and r.ttl or ttl)))
  if policy.max_lease_ms > 0 then
    local longest = r.at + policy.max_lease_ms
    if r.till >= longest or longest <= now then return 'max_lease_exceeded' end
    till = min(till, longest)
  end
  r.till = max(r.till, till)
end

local function keepAlive(r, id, ttl)
  local code = mayAct(r, id) or r.state == ASSIGNED and prolong(r, ttl)
  if not code then touch(r) end
  return code
end

local function release(r, cooldown)
  endsNow(r, now, 'r', 0)
  giveBack(r, cooldown, now)
  r.seen = settling() and inherited(r) and oldSide() or now
end

local function putAside(r)
  if r.state == QUARANTINED then return end
  if r.state == ASSIGNED then endsNow(r, now, 'q', 0) end
  r.state, r.till, r.since = QUARANTINED, now, now
end

local function unblock(r, id, how)
  local code = mayAct(r, id)
  if code then return code end
  if how == 'aside' then return putAside(r) end
  if r.state ~= ASSIGNED then return 'not_assigned' end
  if how == '' then return release(r, policy.cooldown_ms) end
  local strict, own = match(how, '^(s?)(%d+)$')
  local cooldown = tonumber(own)
  if cooldown >= policy.clock then return 'long_rest' end
  if strict ~= '' and cooldown > policy.cooldown_ms then return 'own_rest' end
  release(r, cooldown)
end

local function restore(r)
  if r.state ~= QUARANTINED then return 'not_quarantined' end
  r.state, r.seen, r.since = AVAILABLE, settling() and oldSide() or now, now
end

local function delete(r, id)
  local code = mayAct(r, id)
  if code then return code end
  r.state = nil
end

-- What tms1_change does, by the letter before each argument that is its own.
local ACTS = {k = keepAlive, u = unblock, r = restore, d = delete}

-- Answers the tokens of ARGV whose places are given, with records.
local function thorough(args, places, results)
  local tokens = {}
  for n, i in ipairs(places) do tokens[n] = args[i] end
  local found = find(tokens)
  settleAll(found)
  if not policy.labelled then describe(found) end
  for _, i in ipairs(places) do
    local r, letter = found[args[i]], sub(args[i + 2], 1, 1)
    local code = 'token_not_found'
    if r and r.state then
      local id, by = proof(args[i + 1])
      r.by = by
      code = ACTS[letter](r, id, sub(args[i + 2], 2))
    end
    results[resultOf(i)] = code or tell(r, args[2])
  end
  save(found)
end

-- tms1_change carries out verbs on tokens, in order.
-- ARGV: now, "1" if it is enough to hear until when a lease lasts, and for each token: token, lease_id or "" or STRICT
-- or FORCE and a key, and what is done: k and the ttl or "" to keep it alive; u to unblock it, and behind that "aside"
-- to put the token aside, or the cooldown, after an "s" of one who is strict, or "" for the pool's; r to restore it; d
-- to delete it. At most 1,000 tokens.
-- Answer: {now, token_ttl, a result for each token}: the token as it now stands, packed, or the end of its lease in
-- digits or "" where that is enough; "" of one that was deleted; or the code of a refusal, which begins with a letter:
-- "handed" is a not_holder, "long_rest" an invalid cooldown, "own_rest" one that is not permitted.
local function change(k, args)
  if not start(k, args[1]) then return NO_POOL end
  local results = {stamp(), policy.token_ttl_ms}
  local places = swiftly(args, results)
  if #places > 0 then thorough(args, places, results) end
  return results
end

register('change', change)

-- Takes what is packed apart, for a server of version 1.
local function unpacked(result)
  local state, till, about, metadata = match(result, '^(%d) (%d+) ([^\n]*)\n?(.*)$')
  if state then return {tonumber(state), tonumber(till), about, metadata} end
  return result == '' and {} or result
end

-- tms1_keep_alive, tms1_unblock, tms1_restore and tms1_delete are how servers of version 1 call tms1_change.
-- ARGV: now, and for each token: token, lease_id or "", and what is the function's own.
-- Answer: that of tms1_change, unpacked; an empty array for a token that was deleted.
local function each(letter)
  return function(k, args)
    local asked = {args[1], ''}
    for i = 2, #args, 3 do
      asked[i + 1], asked[i + 2], asked[i + 3] = args[i], args[i + 1], letter .. args[i + 2]
    end
    local results = change(k, asked)
    for n = 3, type(results) == 'table' and #results or 0 do results[n] = unpacked(results[n]) end
    return results
  end
end

register('keep_alive', each('k'))
register('unblock', each('u'))
register('restore', each('r'))
register('delete', each('d'))

-- tms1_token returns one token.
-- ARGV: now, token, lease_id or "", "1" to be told its history.
-- Answer: {now, token_ttl, the token}, or "token_not_found" or "lease_lost". The token has its past for a fifth
-- element, or "", and where that is asked for its history for a sixth.
local function token(k, args)
  if not start(k, args[1]) then return NO_POOL end
  local found = find({args[2]})
  settleAll(found)
  save(found)
  local r = found[args[2]]
  if not r or not r.state then return 'token_not_found' end
  local code = lookup(r, args[3] or '') -- which servers of version 1 do not send
  if code then return code end
  describe(found)
  recollect({r}, args[4] == '1')
  return {stamp(), policy.token_ttl_ms, reply(r)}
end

register('token', token)

-- tms1_unblock_client ends leases that a client holds.
-- ARGV: now, client_id, the end of the lease and the value of the token after which to begin, or "" twice, limit (at
-- most 1,000).
-- Answer: {now, how many it ended, 1 if there are more, the end and the value of the last token it came by (0 and "" if
-- none)}, or "no_index" in a pool that has no index of clients.
local function unblock_client(k, args)
  if not start(k, args[1]) then return NO_POOL end
  if not policy.limited then return 'no_index' end
  local key, records = some('client:' .. args[2]), {}
  local more = list(records, key, ASSIGNED, rankAfter(key, args[3], args[4]), tonumber(args[5]))
  local last = records[#records] or {score = 0, token = ''}
  local answer = {stamp(), 0, more and 1 or 0, last.score, last.token}
  settleAll(records)
  for _, r in ipairs(records) do
    if r.state == ASSIGNED and r.at ~= '0' then
      answer[2] = answer[2] + 1
      release(r, policy.cooldown_ms)
    end
  end
  save(records)
  return answer
end

register('unblock_client', unblock_client)

-- Ends those of the leases, token and lease_id in turn, that still stand. Returns how many.
local function endLeases(leases)
  local tokens, ended = {}, 0
  for i = 1, #leases, 2 do tokens[#tokens + 1] = leases[i] end
  local found = find(tokens)
  settleAll(found)
  for i, token in ipairs(tokens) do
    local r = found[token]
    if r and r.state == ASSIGNED and r.id == leases[2 * i] then
      release(r, policy.cooldown_ms)
      ended = ended + 1
    end
  end
  save(found)
  return ended
end

-- tms1_unblock_request ends the leases that an assign was given, and lets its repeats take none from now on.
-- ARGV: now, request_id.
-- Answer: {now, how many leases it ended}.
local function unblock_request(k, args)
  if not start(k, args[1]) then return NO_POOL end
  local leases = remembered(args[2])
  if not leases then remember(args[2], GIVEN_UP, {}) end
  return {stamp(), leases and leases[1] and endLeases(leases) or 0}
end

register('unblock_request', unblock_request)
