-- Common to all operations; the adapter puts it in front of each.
local function now_ms()
    local t = redis.call('TIME') -- one clock for every gateway
    return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Tell every replica that something changed. kind: 'j' a prompt, 'w' a worker.
local function changed(version_key, changes_key, kind, name)
    local v = redis.call('INCR', version_key)
    redis.call('XADD', changes_key, 'MAXLEN', '~', 20000, v .. '-0', kind, name)
    return v
end

-- Whether a worker is there and takes prompts.
local function is_open(workers_key, name)
    local entry = redis.call('HGET', workers_key, name)
    return entry and not cjson.decode(entry).draining
end

-- How many slots of a worker are taken. What it has ended, but not put away yet, is on it without holding one.
local function taken(held_key)
    local count = 0
    for _, id in ipairs(redis.call('HVALS', held_key)) do
        if id ~= '' then count = count + 1 end
    end
    return count
end

local function waits_no_more(waiting_key, load_key, id, caller, size)
    if redis.call('ZREM', waiting_key, id) == 1 then
        redis.call('HINCRBY', load_key, 'bytes', -size)
        if redis.call('HINCRBY', load_key, 'c:' .. caller, -1) <= 0 then
            redis.call('HDEL', load_key, 'c:' .. caller)
        end
    end
end

local function waits(waiting_key, load_key, waits_key, id, seq, caller, size)
    if redis.call('ZADD', waiting_key, seq, id) == 1 then
        redis.call('HINCRBY', load_key, 'bytes', size)
        redis.call('HINCRBY', load_key, 'c:' .. caller, 1)
        redis.call('INCR', waits_key)
    end
end

-- One name less for the bytes with this digest. Returns their blob when that was the last.
local function one_name_less(blobs_key, digest)
    local found = redis.call('HGET', blobs_key, digest)
    if not found then return nil end
    local entry = cjson.decode(found)
    entry.names = entry.names - 1
    if entry.names > 0 then
        redis.call('HSET', blobs_key, digest, cjson.encode(entry))
        return nil
    end
    redis.call('HDEL', blobs_key, digest)
    redis.call('HINCRBY', blobs_key, 'bytes', -entry.size)
    return entry.blob
end
