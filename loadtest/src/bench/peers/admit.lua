-- Admits by a sealed token, as a gateway does: AES-256-GCM by libcrypto, then the session by its id. Given the key in hex and
-- `at_hand(file)` or `in_redis(port)`, it returns the function for the access phase.
local ffi = require "ffi"
local base64 = require "ngx.base64"

ffi.cdef [[
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
const EVP_CIPHER *EVP_aes_256_gcm(void);
int EVP_DecryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, void *engine, const unsigned char *key, const unsigned char *iv);
int EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *outl, const unsigned char *in, int inl);
int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *ctx, int type, int arg, void *ptr);
int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *outm, int *outl);
]]

local NONCE, SEALED, TAG = 12, 64, 16
local SET_TAG = 0x11

local function unhex(text)
    return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- In shared memory, which it fills from the file.
local function at_hand(file)
    local sessions = ngx.shared.sessions
    for line in io.lines(file) do
        local id, bearer = line:match("^(%x+) (.+)$")
        assert(sessions:set(unhex(id), bearer))
    end
    return function(id) return sessions:get(id) end
end

-- Asked each time (`GET` of the serialization protocol), over connections that stay open.
local function in_redis(port)
    return function(id)
        local connection = ngx.socket.tcp()
        connection:settimeout(1000)
        if not connection:connect("127.0.0.1", port) then return end
        local key = "lua:" .. id
        if not connection:send("*2\r\n$3\r\nGET\r\n$" .. #key .. "\r\n" .. key .. "\r\n") then return end
        local header = connection:receive()
        local length = header and tonumber(header:match("^%$(%d+)$"))
        local value = length and connection:receive(length + 2)
        -- One whose answer was not read to its end must not be another's.
        if value or header == "$-1" then connection:setkeepalive(60000, 256) else connection:close() end
        return value and value:sub(1, -3)
    end
end

local function admit(key, find)
    local crypto = ffi.load("libcrypto.so.3")
    -- The key schedule is made once; a worker opens one token at a time.
    local context = crypto.EVP_CIPHER_CTX_new()
    assert(crypto.EVP_DecryptInit_ex(context, crypto.EVP_aes_256_gcm(), nil, unhex(key), nil) == 1)
    local plain, length, tag = ffi.new("unsigned char[80]"), ffi.new("int[1]"), ffi.new("unsigned char[16]")

    local function open(token)
        local raw = base64.decode_base64url(token)
        if not raw or #raw ~= NONCE + SEALED + TAG then return end
        local bytes = ffi.cast("const unsigned char *", raw)
        ffi.copy(tag, bytes + NONCE + SEALED, TAG)
        if crypto.EVP_DecryptInit_ex(context, nil, nil, nil, bytes) ~= 1
            or crypto.EVP_DecryptUpdate(context, plain, length, bytes + NONCE, SEALED) ~= 1
            or crypto.EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG, tag) ~= 1
            or crypto.EVP_DecryptFinal_ex(context, plain + SEALED, length) ~= 1 then
            return
        end
        local expires = 0
        for at = 32, 39 do expires = expires * 256 + plain[at] end
        if expires > ngx.time() then return ffi.string(plain, 32) end
    end

    return function()
        local header = ngx.var.http_authorization
        local id = header and header:sub(1, 7) == "Bearer " and open(header:sub(8))
        local bearer = id and find(id)
        if not bearer then return ngx.exit(401) end
        ngx.req.set_header("Authorization", bearer)
    end
end

return { admit = admit, at_hand = at_hand, in_redis = in_redis }
