-- Names are used now; those that are not kept are passed over.
-- KEYS  1 used      ARGV  names
for _, name in ipairs(ARGV) do
    if redis.call('ZSCORE', KEYS[1], name) then redis.call('ZADD', KEYS[1], now_ms(), name) end
end
return 1
