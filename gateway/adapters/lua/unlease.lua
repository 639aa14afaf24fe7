-- Give leases back that are this replica's.
-- KEYS  1 this replica's heartbeat  2.. leases      ARGV  1 replica
redis.call('DEL', KEYS[1])
for i = 2, #KEYS do
    if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
return 1
