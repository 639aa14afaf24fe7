-- Delete one history record.
-- KEYS  1 version  2 changes  3 history  4 job  5 record      ARGV  1 prompt_id
-- Returns 1, or 0 when it has none
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return 0 end
redis.call('DEL', KEYS[4], KEYS[5])
changed(KEYS[1], KEYS[2], 'j', ARGV[1])
return 1
