//! What must happen in one step. Each script has one key, so that a cluster can run it.

/// `GETDEL` would consume a guarded value too.
pub const TAKE: &str = "
local frame = redis.call('GET', KEYS[1])
if not frame or frame:sub(1, 1) ~= 'P' then return false end
redis.call('DEL', KEYS[1])
return frame";

/// Compares and claims in one step; a wrong guess changes nothing (T11), but among the claimed it spends. Equal strings are
/// one object in Redis' Lua, so the comparison takes the same time wherever they differ.
pub const REDEEM: &str = "
local frame = redis.call('GET', KEYS[1])
if not frame then return false end
local kind, now, since, bound = frame:sub(1, 1), tonumber(ARGV[3]), tonumber(ARGV[3]), frame:sub(2)
if kind == 'S' then return frame end
if kind == 'L' then
    if bound:sub(1, 32) ~= ARGV[1] then return 'M' end
elseif kind == 'T' then
    since, bound = tonumber(frame:sub(18, 29)), frame:sub(30)
    if not since or #bound < 64 then return false end
    if bound:sub(1, 32) ~= ARGV[1] or now - since > tonumber(ARGV[4]) then
        local spent = 'S' .. bound:sub(33, 64)
        redis.call('SET', KEYS[1], spent, 'EX', ARGV[6])
        return spent
    end
    if frame:sub(2, 17) ~= ARGV[2] and ARGV[5] == '0' then return 'T' end
else
    return false
end
redis.call('SET', KEYS[1], 'T' .. ARGV[2] .. string.format('%012.0f', since) .. bound, 'EX', ARGV[6])
return 'L' .. bound";

/// Who claimed last settles; asked again, it is told the same.
pub const SETTLE: &str = "
local frame = redis.call('GET', KEYS[1])
if not frame then return 0 end
local kind = frame:sub(1, 1)
if kind == 'S' and frame:sub(34) == ARGV[1] then return 1 end
if kind ~= 'T' or frame:sub(2, 17) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'S' .. frame:sub(62, 93) .. ARGV[1], 'EX', ARGV[2])
return 1";

/// A lock is opened by its owner alone.
pub const REMOVE_IF: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1";

/// The rules of `Advance::of`, in one step: of many who present the same generation, one moves the counter.
pub const ADVANCE: &str = "
local frame = redis.call('GET', KEYS[1])
if not frame then return {'missing', 0} end
local current, moved = frame:match('^C(%d+):(%d+)$')
if not current then return {'missing', 0} end
current, moved = tonumber(current), tonumber(moved)
local presented, now, grace = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if presented == current and current < 4294967295 then
    redis.call('SET', KEYS[1], string.format('C%.0f:%.0f', current + 1, now), 'EX', ARGV[4])
    return {'rotated', current + 1}
end
if presented + 1 == current and now - moved <= grace then return {'repeated', current} end
if presented < current then return {'reused', 0} end
return {'missing', 0}";

/// The set lives as long as the last of its members, by the caller's clock.
pub const ENLIST: &str = "
local ends, now = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
if ends > now then
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
else
    redis.call('ZREM', KEYS[1], ARGV[1])
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then redis.call('EXPIRE', KEYS[1], string.format('%.0f', tonumber(last[2]) - now)) end
return 1";
