"""The statements that take lines apart and insert them into `bronze.raw_events`."""

from __future__ import annotations

NOT_BLANK = r"[^\s\x0b\x{85}\p{Z}]"
"""Matches a line with a character other than the 25 that have the Unicode property White_Space."""
KEYS = ("event_type", "user_id", "episode_id", "timestamp", "duration")

_KEY_LIST = "[" + ", ".join(f"'{key}'" for key in KEYS) + "]"
_STRING = r'"(?:[^"\\]|\\.)*"'

# The engine's JSON reader takes NaN, Infinity and a comma before a closing bracket, which JSON does not
# have. A line in which one of them stands is looked at again with its strings emptied.
_LOOSE = r"(?i)nan|inf|,\s*[}\]]"
_IS_STRICT = f"""not (
    regexp_matches(line, '{_LOOSE}')
    and regexp_matches(regexp_replace(line, '{_STRING}', '""', 'gs'), '{_LOOSE}')
)"""

# It also gives a number that is not a plain integer back in its own notation (1e3 as 1000.0). Where such a
# number may be the value of a key, all numbers outside strings are quoted first, so that their text stays.
_HAS_ODD_NUMBER = r'"\s*:\s*-?[0-9]+[.eE]|"\s*:\s*-0'
# (The number added to the line's end is there for every match to reach: without it, one would start inside a
# string behind the last number.)
_QUOTED = (
    "left(regexp_replace(object_line || ' 0', "
    rf"""'((?:{_STRING}|[^"0-9-])*)(-?[0-9][0-9.eE+-]*)', '\1"\2"', 'gs'), -4)"""
)


# And of a key that stands twice it takes the first value, where every other reader of JSON takes the last.
def _of_last(function: str) -> str:
    """`function` of the last member of each key's name, as a list in the order of `KEYS`."""
    members = (
        f"{function}(text, '$.*')[len(keys) + 1 - nullif(list_position(list_reverse(keys), '{key}'), 0)]"
        for key in KEYS
    )
    return f"[{', '.join(members)}]"


# Nearly all lines are of the plainest kind: the five keys at most, each once, and as values null, a text without an
# escape, or a whole number. What says so in one pass needs no other look but the one that takes the values out.
_PLAIN_VALUE = r'(?:"[^"\\\x00-\x1f]*"|null|0|[1-9][0-9]{0,17})'
_MEMBER = f'"(?:{"|".join(KEYS)})": ?{_PLAIN_VALUE}'
_IN_ORDER = rf'\{{"{KEYS[0]}": ?{_PLAIN_VALUE}{"".join(f"""(?:, ?"{k}": ?{_PLAIN_VALUE})?""" for k in KEYS[1:])}\}}'
_IN_ANY_ORDER = rf"\{{{_MEMBER}(?:, ?{_MEMBER}){{0,{len(KEYS) - 1}}}\}}"
_TWICE = "|".join(f'"{key}":.*"{key}":' for key in KEYS)
_IS_PLAIN = f"""case
    when regexp_full_match(line, '{_IN_ORDER}') then true
    when regexp_full_match(line, '{_IN_ANY_ORDER}') then not regexp_matches(line, '{_TWICE}')
    else false
end"""
_PLAIN_KEYS = "{" + ", ".join(f'"{key}": "VARCHAR"' for key in KEYS) + "}"
_VALUES = ",\n    ".join(
    f"case when is_plain then plain.{key} when types[{i}] not in ('OBJECT', 'ARRAY') then texts[{i}] end as {key}"
    for i, key in enumerate(KEYS, 1)
)


def _insert(lines: str) -> str:
    """The insert of all lines that `lines` selects (batch, file, line number, text).

    All goes through in one pass: of a plain line, whatever the others are looked at for is null.
    """
    return f"""
insert into bronze.raw_events by name
with lines as (
    {lines}
),
seen as (
    select *, coalesce({_IS_PLAIN}, false) as is_plain
    from lines
    where starts_with(line, '{{') or regexp_matches(line, '{NOT_BLANK}')
),
json as (
    -- null where the line is no JSON: whatever the engine computes early, it never meets broken text
    select
        *,
        json_transform(case when is_plain then line end, '{_PLAIN_KEYS}') as plain,
        case when not is_plain and json_valid(line) and {_IS_STRICT} then line end as json_line,
    from seen
),
objects as (
    select *, case when json_type(json_line) = 'OBJECT' then json_line end as object_line
    from json
),
members as (
    select
        *,
        json_keys(object_line) as keys,
        len(keys) > len(list_distinct(keys)) as has_repeated_keys,
        coalesce(not list_has_all({_KEY_LIST}, keys), false) as has_further_keys,
        case
            when regexp_matches(object_line, '{_HAS_ODD_NUMBER}') then {_QUOTED}
            else object_line
        end as text,
    from objects
),
valued as (
    select
        *,
        case
            when has_repeated_keys then {_of_last("json_extract_string")}
            else json_extract_string(text, {_KEY_LIST})
        end as texts,
        case
            when has_repeated_keys then {_of_last("json_type")}
            else json_type(text, {_KEY_LIST})
        end as types,
    from members
)
select
    batch_id,
    filename,
    line_number,
    {_VALUES},
    case
        when is_plain then null
        when object_line is null
            or has_further_keys or has_repeated_keys or list_has_any(types, ['OBJECT', 'ARRAY'])
        then line
    end as rescued,
    null as rescued_bytes,
    not is_plain and object_line is null as is_malformed,
    has_further_keys,
    load_at
from valued
"""


def _lines(blocks: str) -> str:
    """The lines of all blocks that `blocks` gives."""
    return f"""
    select
        batch_id, filename, load_at,
        first_line + unnest(range(len(block_lines))) as line_number,
        unnest(block_lines) as line
    from (
        select batch_id, filename, load_at, first_line, string_split(decode(content), chr(10)) as block_lines
        from {blocks} as blocks (batch_id, filename, load_at, first_line, content)
    )
"""


INSERT_BLOCK = _insert(_lines("(values (?::varchar, ?::varchar, ?::timestamp, ?::bigint, ?::blob))"))
"""Inserts the lines of one block; takes its columns. (From a list, the engine copies the content several times.)"""

INSERT_BLOCKS = _insert(
    _lines(
        "(select unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::timestamp[]), unnest(?::bigint[]), "
        "unnest(?::blob[]))"
    )
)
"""Inserts the lines of blocks; takes their columns as lists."""

INSERT_BYTES = """
insert into bronze.raw_events by name
select
    ?::varchar as batch_id,
    ?::varchar as filename,
    ?::timestamp as load_at,
    unnest(?::bigint[]) as line_number,
    unnest(?::blob[]) as rescued_bytes,
    true as is_malformed,
    false as has_further_keys
"""
"""Inserts the lines of one block that are not UTF-8."""

INSERT_PARSED = """
insert into bronze.raw_events by name
select * from read_parquet(?)
"""
"""Inserts the lines that are taken apart already."""
