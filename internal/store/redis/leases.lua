-- Keep-alive, unblock and delete.

-- Refuses a lease_id that is not the present lease's, and a missing one where the pool requires it.
local function refusal(r, id)
  if id ~= '' then
    if r.state ~= ASSIGNED or id ~= r.id or id == '-' then return 'lease_lost' end
  elseif r.state == ASSIGNED and policy.require_lease_id then
    return 'not_holder'
  end
end

local function prolong(r, ttl)
  local till = now + (ttl == '' and r.ttl or ttl)
  if policy.max_lease_ms > 0 then
    local longest = r.at + policy.max_lease_ms
    if r.till >= longest then return 'max_lease_exceeded' end
    till = min(till, longest)
  end
  r.till = max(r.till, till)
end

local function keepAlive(r, id, ttl)
  local code = refusal(r, id) or r.state == ASSIGNED and prolong(r, ttl)
  if not code then touch(r) end
  return code
end

local function unblock(r, id)
  local code = refusal(r, id)
  if code then return code end
  if r.state ~= ASSIGNED then return 'not_assigned' end
  giveBack(r, now)
  r.seen = now
end

local function delete(r, id)
  local code = refusal(r, id)
  if code then return code end
  r.state = nil
end

-- tms1_keep_alive, tms1_unblock and tms1_delete do so to tokens, in order.
-- ARGV: now, and for each token: token, lease_id or "", ttl or "" (keep-alive only). At most 1,000 tokens.
-- Answer: {now, token_ttl, a result for each token}: the token as it now stands (delete: an empty array), or the code
-- of a refusal.
local function each(act)
  return function(k, args)
    if not open(k, args[1]) then return NO_POOL end
    local size, tokens, n = #args, {}, 0
    for i = 2, size, 3 do
      n = n + 1
      tokens[n] = args[i]
    end
    local found, results = find(tokens), {now, policy.token_ttl_ms}
    settleAll(found)
    describe(found)
    n = 2
    for i = 2, size, 3 do
      local r = found[args[i]]
      local code = 'token_not_found'
      if r and r.state then code = act(r, args[i + 1], args[i + 2]) end
      n = n + 1
      results[n] = code or answer(r)
    end
    save(found)
    tally()
    return results
  end
end

register('keep_alive', each(keepAlive))
register('unblock', each(unblock))
register('delete', each(delete))
