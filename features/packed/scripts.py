"""What Redis itself does with segments, in Lua: compare-and-set, and dropping what a removed view left behind.

A script runs alone: no reader sees an entity half-written, and no two writers lose each other's segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1

from features.packed.wire import packed

__all__ = ["DROP", "WRITE", "Script"]

FORMER_DAYS = 14
"""How much older than the new one a former schema's segment may be: what nobody wrote for so long, nobody reads."""

_PARSE = """
local unpack, sub = struct.unpack, string.sub

-- The segments of a text, in order. What follows the last whole one, nobody could read: it is left out.
local function parse(text)
  local parts, at, size = {}, 1, #text
  while at + 17 <= size do
    local view, schema, length, event = unpack('<I4I4I2i8', text, at)
    local created, after = -math.huge, at + 18
    if length >= 32768 then
      if after + 7 > size then break end
      created, after, length = unpack('<i8', text, after), after + 8, length - 32768
    end
    after = after + length
    if after > size + 1 then break end
    local whole = sub(text, at, after - 1)
    parts[#parts + 1] = {view = view, schema = schema, event = event, created = created, text = whole}
    at = after
  end
  return parts
end

local function join(parts)
  local texts = {}
  for i, part in ipairs(parts) do texts[i] = part.text end
  return table.concat(texts)
end
"""

_WRITE = """
local function later(one, other)
  return one.event > other.event or (one.event == other.event and one.created > other.created)
end

-- Put one more segment after the others. Answers how many were written: 1, or 0 if a later one is there.
local function put(parts, new)
  local former
  for i, part in ipairs(parts) do
    if part.view == new.view then
      if part.schema == new.schema then
        if later(part, new) then return 0 end
      elseif not former or not later(parts[former], part) then
        former = i
      end
    end
  end
  for i = #parts, 1, -1 do
    local part = parts[i]
    if part.view == new.view and (i ~= former or part.event < new.event - FORMER) then table.remove(parts, i) end
  end
  parts[#parts + 1] = new
  return 1
end

-- How many segments are given, if they may simply take the place of what is there: of nothing, or of the same segments
-- in the same order, none of them later. Nil if that cannot be said without taking both apart, which costs three times
-- as much.
local function replaces(old, given)
  local size, at, count, seen = #given, 1, 0, {}
  if old ~= '' and #old ~= size then return nil end
  while at + 17 <= size do
    local view, schema, length, event = unpack('<I4I4I2i8', given, at)
    local dated = length >= 32768
    local after = at + length + (dated and 26 - 32768 or 18)
    if seen[view] or after > size + 1 then return nil end
    if old ~= '' then
      local v, s, l, e = unpack('<I4I4I2i8', old, at)
      if v ~= view or s ~= schema or l ~= length or e > event then return nil end
      if dated and e == event and unpack('<i8', old, at + 18) > unpack('<i8', given, at + 18) then return nil end
    end
    seen[view], count, at = true, count + 1, after
  end
  return at == size + 1 and count or nil
end

local written = {}
for i, key in ipairs(KEYS) do
  local old, given = redis.call('GET', key) or '', ARGV[i]
  local count = replaces(old, given)
  if count then
    redis.call('SET', key, given)
  else
    local parts = parse(old)
    count = 0
    for _, new in ipairs(parse(given)) do count = count + put(parts, new) end
    if count > 0 then redis.call('SET', key, join(parts)) end
  end
  written[i] = count
end
return written
"""

_DROP = """
local gone = {}
for i = 1, #ARGV[1], 4 do gone[unpack('<I4', ARGV[1], i)] = true end
local dropped = {}
for i, key in ipairs(KEYS) do
  local parts, kept = parse(redis.call('GET', key) or ''), {}
  for _, part in ipairs(parts) do
    if not gone[part.view] then kept[#kept + 1] = part end
  end
  dropped[i] = #parts - #kept
  if #kept == 0 then redis.call('UNLINK', key)
  elseif dropped[i] > 0 then redis.call('SET', key, join(kept)) end
end
return dropped
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, which a server knows by the hash of its text. It answers one number a key."""

    text: str
    sha: str
    load: bytes
    """The command that makes it known."""

    @staticmethod
    def of(text: str) -> Script:
        """The script of this text."""
        sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
        return Script(text, sha, packed([(b"SCRIPT", b"LOAD", text)]))


WRITE = Script.of(_PARSE + _WRITE.replace("FORMER", f"{FORMER_DAYS * 86_400 * 10**6}"))
"""ARGV[i]: whole segments for KEYS[i]. The greater (event, created) stays, an equal pair overwrites. Beside a schema's
segment one of another schema of the view stays at most. Answers how many segments were written."""

DROP = Script.of(_PARSE + _DROP)
"""ARGV[1]: view hashes, 4 bytes each. Answers how many segments were dropped."""
