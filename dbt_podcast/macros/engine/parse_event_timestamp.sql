{#-
    The instant that a text says, in UTC; null where it says none.

    An ISO 8601 calendar date and time in the extended format, `T` or one space between them, hours 00 to
    23, seconds optional, an optional fraction of a second (cut beyond microseconds), an optional `Z` or
    offset; without either it is UTC.
-#}
{% macro parse_event_timestamp(text) -%}
    {{ return(adapter.dispatch("parse_event_timestamp", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__parse_event_timestamp(text) -%}
    {%- set date = "[0-9]{4}-[0-9]{2}-[0-9]{2}" -%}
    {%- set time = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?" -%}
    {%- set offset = "(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?" -%}
    case
        -- as nearly all are
        when
            regexp_full_match({{ text }}, '{{ date }}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z?')
            and left({{ text }}, 4) <> '0000' then try_cast({{ text }} as timestamp)
        when regexp_full_match({{ text }}, '{{ date }}[T ]{{ time }}{{ offset }}') and left({{ text }}, 4) <> '0000' then
            try_cast(
                left({{ text }}, 10) || ' ' || substr({{ text }}, 12, 5)
                || case
                    when substr({{ text }}, 17, 1) <> ':' then ':00'
                    when substr({{ text }}, 20, 1) not in ('.', ',') then substr({{ text }}, 17, 3)
                    else substr({{ text }}, 17, 3) || '.' || regexp_extract({{ text }}, '[.,]([0-9]{1,6})', 1)
                end
                as timestamp
            )
            - case
                when regexp_matches(substr({{ text }}, 17), '[+-]') then to_minutes({{ _offset_minutes("substr(" ~ text ~ ", 17)") }})
                else to_minutes(0)
            end
    end
{%- endmacro %}

{#- Minutes of an offset at the end of a text: +hh:mm, +hhmm or +hh. -#}
{% macro _offset_minutes(text) -%}
    {%- set offset = "([+-])([0-9]{2}):?([0-9]{2})?$" -%}
    cast(regexp_extract({{ text }}, '{{ offset }}', 1) || '1' as bigint) * (
        60 * cast(regexp_extract({{ text }}, '{{ offset }}', 2) as bigint)
        + coalesce(try_cast(regexp_extract({{ text }}, '{{ offset }}', 3) as bigint), 0)
    )
{%- endmacro %}

{% macro spark__parse_event_timestamp(text) -%}
    {%- set date = "[0-9]{4}-[0-9]{2}-[0-9]{2}" -%}
    {%- set time = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?" -%}
    {%- set offset = "(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?" -%}
    {%- set minutes -%}
    case
        when regexp_like(substr({{ text }}, 17), '[+-]') then {{ _spark_offset_minutes("substr(" ~ text ~ ", 17)") }}
        else 0
    end
    {%- endset -%}
    case
        when {{ matches(text, date ~ "[T ]" ~ time ~ offset) }} and left({{ text }}, 4) <> '0000' then
            timestampadd(
                minute,
                -({{ minutes }}),
                try_cast(
                    left({{ text }}, 10) || ' ' || substr({{ text }}, 12, 5)
                    || case
                        when substr({{ text }}, 17, 1) <> ':' then ':00'
                        when substr({{ text }}, 20, 1) not in ('.', ',') then substr({{ text }}, 17, 3)
                        else substr({{ text }}, 17, 3) || '.' || regexp_extract({{ text }}, '[.,]([0-9]{1,6})', 1)
                    end
                    as timestamp_ntz
                )
            )
    end
{%- endmacro %}

{#- An engine may work out what a condition around it rules out, so that nothing here fails on any text. -#}
{% macro _spark_offset_minutes(text) -%}
    {%- set offset = "([+-])([0-9]{2}):?([0-9]{2})?$" -%}
    coalesce(
        try_cast(regexp_extract({{ text }}, '{{ offset }}', 1) || '1' as int) * (
            60 * try_cast(regexp_extract({{ text }}, '{{ offset }}', 2) as int)
            + coalesce(try_cast(regexp_extract({{ text }}, '{{ offset }}', 3) as int), 0)
        ),
        0
    )
{%- endmacro %}
