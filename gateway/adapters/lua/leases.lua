-- Take or renew leases that are free or already this replica's.
-- KEYS  1 this replica's heartbeat  2.. leases      ARGV  1 replica  2 ttl in ms
-- Returns a list of 1 (held by this replica now) or 0, one for each lease
redis.call('SET', KEYS[1], 1, 'PX', ARGV[2])
local held = {}
for i = 2, #KEYS do
    local owner = redis.call('GET', KEYS[i])
    if not owner or owner == ARGV[1] then
        redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2])
        held[i - 1] = 1
    else
        held[i - 1] = 0
    end
end
return held
