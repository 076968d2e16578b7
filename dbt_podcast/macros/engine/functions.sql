{#- What engines write differently: one macro each, dispatched by adapter. -#}

{#- Text without Unicode white space (the 25 characters with the property White_Space) on both ends. -#}
{% macro trim_unicode(text) -%}
    {{ return(adapter.dispatch("trim_unicode", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__trim_unicode(text) -%}
    {%- set code_points = [9, 10, 11, 12, 13, 32, 133, 160, 5760] + range(8192, 8203) | list + [8232, 8233, 8239, 8287, 12288] -%}
    {#- Nearly every text begins and ends with a character of ASCII that is none of them, and is told by that much faster. #}
    case
        when {{ text }}[1] between '!' and '~' and {{ text }}[-1] between '!' and '~' then {{ text }}
        else trim({{ text }}, {% for code_point in code_points %}chr({{ code_point }}){{ " || " if not loop.last }}{% endfor %})
    end
{%- endmacro %}


{#- Whether the whole text matches a pattern (RE2 notation). -#}
{% macro matches(text, pattern) -%}
    {{ return(adapter.dispatch("matches", "podcast")(text, pattern)) }}
{%- endmacro %}

{% macro duckdb__matches(text, pattern) -%}
    regexp_full_match({{ text }}, '{{ pattern }}')
{%- endmacro %}


{#- An array of the texts that are not null, in their order. -#}
{% macro array_of_present(expressions) -%}
    {{ return(adapter.dispatch("array_of_present", "podcast")(expressions)) }}
{%- endmacro %}

{% macro duckdb__array_of_present(expressions) -%}
    {#- Most rows have none, and need no list to be made and filtered. #}
    case
        when coalesce(
            {{ expressions | join(",\n            ") }}
        ) is null then []
        else list_filter(
            [
                {{ expressions | join(",\n                ") }}
            ],
            lambda code: code is not null
        )
    end
{%- endmacro %}


{% macro array_contains(array, element) -%}
    {{ return(adapter.dispatch("array_contains", "podcast")(array, element)) }}
{%- endmacro %}

{% macro duckdb__array_contains(array, element) -%}
    list_contains({{ array }}, {{ element }})
{%- endmacro %}


{% macro array_length(array) -%}
    {{ return(adapter.dispatch("array_length", "podcast")(array)) }}
{%- endmacro %}

{% macro duckdb__array_length(array) -%}
    len({{ array }})
{%- endmacro %}


{#- 128 bits of a text as 32 hexadecimal digits. -#}
{% macro hash_text(text) -%}
    {{ return(adapter.dispatch("hash_text", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__hash_text(text) -%}
    md5({{ text }})
{%- endmacro %}


{#- 64 bits of a text as a whole number: a join key that is cheap to compare, never an identity by itself. -#}
{% macro hash_number(text) -%}
    {{ return(adapter.dispatch("hash_number", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__hash_number(text) -%}
    {#- As md5_number_lower(), which goes through a text of bits. #}
    cast(md5_number({{ text }}) >> 64 as ubigint)
{%- endmacro %}


{#- Texts and numbers as one text; none of them is null. -#}
{% macro in_one_text(parts) -%}
    {{ return(adapter.dispatch("in_one_text", "podcast")(parts)) }}
{%- endmacro %}

{% macro duckdb__in_one_text(parts) -%}
    concat({{ parts | join(", ") }})
{%- endmacro %}


{#- Microseconds since 1970 of a timestamp in UTC. -#}
{% macro epoch_microseconds(timestamp) -%}
    {{ return(adapter.dispatch("epoch_microseconds", "podcast")(timestamp)) }}
{%- endmacro %}

{% macro duckdb__epoch_microseconds(timestamp) -%}
    epoch_us({{ timestamp }})
{%- endmacro %}


{% macro add_minutes(timestamp, minutes) -%}
    {{ return(adapter.dispatch("add_minutes", "podcast")(timestamp, minutes)) }}
{%- endmacro %}

{% macro duckdb__add_minutes(timestamp, minutes) -%}
    ({{ timestamp }} + to_minutes({{ minutes }}))
{%- endmacro %}


{% macro add_days(date, days) -%}
    {{ return(adapter.dispatch("add_days", "podcast")(date, days)) }}
{%- endmacro %}

{% macro duckdb__add_days(date, days) -%}
    cast({{ date }} + to_days({{ days }}) as date)
{%- endmacro %}


{% macro add_seconds(timestamp, seconds) -%}
    {{ return(adapter.dispatch("add_seconds", "podcast")(timestamp, seconds)) }}
{%- endmacro %}

{% macro duckdb__add_seconds(timestamp, seconds) -%}
    ({{ timestamp }} + to_seconds({{ seconds }}))
{%- endmacro %}


{#- The Monday of the week of a date. -#}
{% macro week_start(date) -%}
    {{ return(adapter.dispatch("week_start", "podcast")(date)) }}
{%- endmacro %}

{% macro duckdb__week_start(date) -%}
    cast(date_trunc('week', {{ date }}) as date)
{%- endmacro %}


{#- Days from one date to a later one. -#}
{% macro days_between(from_date, to_date) -%}
    {{ return(adapter.dispatch("days_between", "podcast")(from_date, to_date)) }}
{%- endmacro %}

{% macro duckdb__days_between(from_date, to_date) -%}
    date_diff('day', {{ from_date }}, {{ to_date }})
{%- endmacro %}


{#- A select of each `date_day` from 1 January of the year of `first_date` to 31 December of that of `last_date`. -#}
{% macro days_of_years(relation, first_date, last_date) -%}
    {{ return(adapter.dispatch("days_of_years", "podcast")(relation, first_date, last_date)) }}
{%- endmacro %}

{% macro duckdb__days_of_years(relation, first_date, last_date) -%}
    select
        cast(unnest(range(
            cast(date_trunc('year', {{ first_date }}) as timestamp),
            cast(date_trunc('year', {{ last_date }}) + interval 1 year as timestamp),
            interval 1 day
        )) as date) as date_day
    from {{ relation }}
{%- endmacro %}


{#- The number that a text of digits with an optional sign and `.0` tail says; beyond 64 bits, one of 18 digits. -#}
{% macro whole_number(text) -%}
    {{ return(adapter.dispatch("whole_number", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__whole_number(text) -%}
    coalesce(
        try_cast(split_part({{ text }}, '.', 1) as bigint),
        case when {{ text }} like '-%' then -999999999999999999 else 999999999999999999 end
    )
{%- endmacro %}


{#- The middle value of a group, nulls aside; between two middle ones their mean. -#}
{% macro median(number) -%}
    {{ return(adapter.dispatch("median", "podcast")(number)) }}
{%- endmacro %}

{% macro duckdb__median(number) -%}
    median({{ number }})
{%- endmacro %}


{#- The texts of a group in their own order, with a comma between them. -#}
{% macro joined_texts(text, order_by) -%}
    {{ return(adapter.dispatch("joined_texts", "podcast")(text, order_by)) }}
{%- endmacro %}

{% macro duckdb__joined_texts(text, order_by) -%}
    string_agg({{ text }}, ', ' order by {{ order_by }})
{%- endmacro %}


{#- A path with `#` in place of every run of the digits 0 to 9. -#}
{% macro without_digits(text) -%}
    {{ return(adapter.dispatch("without_digits", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__without_digits(text) -%}
    regexp_replace({{ text }}, '[0-9]+', '#', 'g')
{%- endmacro %}


{#- A select of the columns of a relation and of each `key` of the JSON object in one of its texts. -#}
{% macro object_keys(relation, columns, text) -%}
    {{ return(adapter.dispatch("object_keys", "podcast")(relation, columns, text)) }}
{%- endmacro %}

{% macro duckdb__object_keys(relation, columns, text) -%}
    select
        {{ columns | join(",\n        ") }},
        unnest(json_keys({{ text }})) as key
    from {{ relation }}
{%- endmacro %}


{#- What stands between `as` and the brackets of a CTE that is used several times, and worked out each time. -#}
{% macro not_materialized() -%}
    {{ return(adapter.dispatch("not_materialized", "podcast")()) }}
{%- endmacro %}

{% macro duckdb__not_materialized() -%}
    not materialized
{%- endmacro %}
