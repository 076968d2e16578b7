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

{% macro spark__trim_unicode(text) -%}
    {%- set code_points = ["0009", "000a", "000b", "000c", "000d", "0020", "0085", "00a0", "1680", "2000", "2001", "2002", "2003",
        "2004", "2005", "2006", "2007", "2008", "2009", "200a", "2028", "2029", "202f", "205f", "3000"] -%}
    trim(both '{% for code_point in code_points %}\u{{ code_point }}{% endfor %}' from {{ text }})
{%- endmacro %}


{#- Whether the whole text matches a pattern, in what RE2 and Java understand alike. -#}
{% macro matches(text, pattern) -%}
    {{ return(adapter.dispatch("matches", "podcast")(text, pattern)) }}
{%- endmacro %}

{% macro duckdb__matches(text, pattern) -%}
    regexp_full_match({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro spark__matches(text, pattern) -%}
    regexp_like({{ text }}, '\\A(?:{{ pattern }})\\z')
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

{% macro spark__array_of_present(expressions) -%}
    array_compact(array(
        {{ expressions | join(",\n        ") }}
    ))
{%- endmacro %}


{% macro array_contains(array, element) -%}
    {{ return(adapter.dispatch("array_contains", "podcast")(array, element)) }}
{%- endmacro %}

{% macro duckdb__array_contains(array, element) -%}
    list_contains({{ array }}, {{ element }})
{%- endmacro %}

{% macro spark__array_contains(array, element) -%}
    array_contains({{ array }}, {{ element }})
{%- endmacro %}


{% macro array_length(array) -%}
    {{ return(adapter.dispatch("array_length", "podcast")(array)) }}
{%- endmacro %}

{% macro duckdb__array_length(array) -%}
    len({{ array }})
{%- endmacro %}

{% macro spark__array_length(array) -%}
    array_size({{ array }})
{%- endmacro %}


{#- 128 bits of a text as 32 hexadecimal digits. -#}
{% macro hash_text(text) -%}
    {{ return(adapter.dispatch("hash_text", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__hash_text(text) -%}
    md5({{ text }})
{%- endmacro %}

{% macro spark__hash_text(text) -%}
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

{% macro spark__hash_number(text) -%}
    {#- The same bits as on DuckDB, which reads the last eight bytes from the last to the first; the highest is a sign here. -#}
    {%- set digits = "md5(" ~ text ~ ")" -%}
    cast(conv(concat({% for at in range(31, 16, -2) %}substr({{ digits }}, {{ at }}, 2){{ ", " if not loop.last }}{% endfor %}), 16, -10) as bigint)
{%- endmacro %}


{#- Microseconds since 1970 of a timestamp in UTC. -#}
{% macro epoch_microseconds(timestamp) -%}
    {{ return(adapter.dispatch("epoch_microseconds", "podcast")(timestamp)) }}
{%- endmacro %}

{% macro duckdb__epoch_microseconds(timestamp) -%}
    epoch_us({{ timestamp }})
{%- endmacro %}

{% macro spark__epoch_microseconds(timestamp) -%}
    unix_micros(cast({{ timestamp }} as timestamp_ltz))
{%- endmacro %}


{% macro add_minutes(timestamp, minutes) -%}
    {{ return(adapter.dispatch("add_minutes", "podcast")(timestamp, minutes)) }}
{%- endmacro %}

{% macro duckdb__add_minutes(timestamp, minutes) -%}
    ({{ timestamp }} + to_minutes({{ minutes }}))
{%- endmacro %}

{% macro spark__add_minutes(timestamp, minutes) -%}
    timestampadd(minute, {{ minutes }}, {{ timestamp }})
{%- endmacro %}


{% macro add_days(date, days) -%}
    {{ return(adapter.dispatch("add_days", "podcast")(date, days)) }}
{%- endmacro %}

{% macro duckdb__add_days(date, days) -%}
    cast({{ date }} + to_days({{ days }}) as date)
{%- endmacro %}

{% macro spark__add_days(date, days) -%}
    date_add({{ date }}, {{ days }})
{%- endmacro %}


{% macro add_seconds(timestamp, seconds) -%}
    {{ return(adapter.dispatch("add_seconds", "podcast")(timestamp, seconds)) }}
{%- endmacro %}

{% macro duckdb__add_seconds(timestamp, seconds) -%}
    ({{ timestamp }} + to_seconds({{ seconds }}))
{%- endmacro %}

{% macro spark__add_seconds(timestamp, seconds) -%}
    timestampadd(second, {{ seconds }}, {{ timestamp }})
{%- endmacro %}


{#- The Monday of the week of a date. -#}
{% macro week_start(date) -%}
    {{ return(adapter.dispatch("week_start", "podcast")(date)) }}
{%- endmacro %}

{% macro duckdb__week_start(date) -%}
    cast(date_trunc('week', {{ date }}) as date)
{%- endmacro %}

{% macro spark__week_start(date) -%}
    trunc({{ date }}, 'week')
{%- endmacro %}


{#- Days from one date to a later one. -#}
{% macro days_between(from_date, to_date) -%}
    {{ return(adapter.dispatch("days_between", "podcast")(from_date, to_date)) }}
{%- endmacro %}

{% macro duckdb__days_between(from_date, to_date) -%}
    date_diff('day', {{ from_date }}, {{ to_date }})
{%- endmacro %}

{% macro spark__days_between(from_date, to_date) -%}
    datediff({{ to_date }}, {{ from_date }})
{%- endmacro %}


{#- The number of a date's ISO week. -#}
{% macro iso_week(date) -%}
    {{ return(adapter.dispatch("iso_week", "podcast")(date)) }}
{%- endmacro %}

{% macro duckdb__iso_week(date) -%}
    cast(extract(week from {{ date }}) as integer)
{%- endmacro %}

{% macro spark__iso_week(date) -%}
    cast(extract(week from {{ date }}) as integer)
{%- endmacro %}


{#- Hours from one timestamp to a later one, with their fraction. -#}
{% macro hours_between(from_timestamp, to_timestamp) -%}
    cast({{ epoch_microseconds(to_timestamp) }} - {{ epoch_microseconds(from_timestamp) }} as double) / 3600e6
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

{% macro spark__days_of_years(relation, first_date, last_date) -%}
    select
        explode(sequence(
            trunc({{ first_date }}, 'year'),
            date_add(add_months(trunc({{ last_date }}, 'year'), 12), -1),
            interval 1 day
        )) as date_day
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

{% macro spark__whole_number(text) -%}
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

{% macro spark__median(number) -%}
    median({{ number }})
{%- endmacro %}


{#- A sum of numbers that are exact to 15 digits, to the last bit the same on every engine. -#}
{% macro exact_sum(number) -%}
    {{ return(adapter.dispatch("exact_sum", "podcast")(number)) }}
{%- endmacro %}

{% macro duckdb__exact_sum(number) -%}
    cast(sum(cast({{ number }} as decimal(38, 15))) as double)
{%- endmacro %}

{#-
    As DuckDB does it, where the casts of Spark give other last digits: a double is taken by its number rather than by the
    digits that it prints, and a sum beyond 53 bits comes back as its whole part and its fraction.
-#}
{% macro spark__exact_sum(number) -%}
    {%- set total = "sum(cast((" ~ number ~ ") * 1e15 as decimal(38, 0)))" -%}
    case
        when abs({{ total }}) <= 9007199254740992 then cast({{ total }} as double) / 1e15
        else cast({{ total }} div 1000000000000000 as double) + cast({{ total }} % 1000000000000000 as double) / 1e15
    end
{%- endmacro %}


{#- The texts of a group in their own order, with a comma between them. -#}
{% macro joined_texts(text, order_by) -%}
    {{ return(adapter.dispatch("joined_texts", "podcast")(text, order_by)) }}
{%- endmacro %}

{% macro duckdb__joined_texts(text, order_by) -%}
    string_agg({{ text }}, ', ' order by {{ order_by }})
{%- endmacro %}

{% macro spark__joined_texts(text, order_by) -%}
    listagg({{ text }}, ', ') within group (order by {{ order_by }})
{%- endmacro %}


{#- A path with `#` in place of every run of the digits 0 to 9. -#}
{% macro without_digits(text) -%}
    {{ return(adapter.dispatch("without_digits", "podcast")(text)) }}
{%- endmacro %}

{% macro duckdb__without_digits(text) -%}
    regexp_replace({{ text }}, '[0-9]+', '#', 'g')
{%- endmacro %}

{% macro spark__without_digits(text) -%}
    regexp_replace({{ text }}, '[0-9]+', '#')
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

{% macro spark__object_keys(relation, columns, text) -%}
    select
        {{ columns | join(",\n        ") }},
        explode(json_object_keys({{ text }})) as key
    from {{ relation }}
{%- endmacro %}


{#- The type of a text of any length. -#}
{% macro text_type() -%}
    {{ return(adapter.dispatch("text_type", "podcast")()) }}
{%- endmacro %}

{% macro duckdb__text_type() -%}
    varchar
{%- endmacro %}

{% macro spark__text_type() -%}
    string
{%- endmacro %}


{#- The day of the week of a date, from 1 on Monday to 7. -#}
{% macro day_of_week(date) -%}
    {{ return(adapter.dispatch("day_of_week", "podcast")(date)) }}
{%- endmacro %}

{% macro duckdb__day_of_week(date) -%}
    cast(extract(isodow from {{ date }}) as integer)
{%- endmacro %}

{% macro spark__day_of_week(date) -%}
    cast(extract(dayofweek_iso from {{ date }}) as integer)
{%- endmacro %}


{#- All columns of a relation but one. -#}
{% macro all_but(relation, column) -%}
    {{ return(adapter.dispatch("all_but", "podcast")(relation, column)) }}
{%- endmacro %}

{% macro duckdb__all_but(relation, column) -%}
    {{ relation }}.* exclude ({{ column }})
{%- endmacro %}

{% macro spark__all_but(relation, column) -%}
    {{ relation }}.* except ({{ column }})
{%- endmacro %}


{#- How a part of several models comes about: within each of them, or once for all where an engine would work it out anew. -#}
{% macro shared_part() -%}
    {{ return(adapter.dispatch("shared_part", "podcast")()) }}
{%- endmacro %}

{% macro duckdb__shared_part() -%}
    {{ return("ephemeral") }}
{%- endmacro %}

{% macro spark__shared_part() -%}
    {{ return("table") }}
{%- endmacro %}


{#- What stands between `as` and the brackets of a CTE that is used several times, and worked out each time. -#}
{% macro not_materialized() -%}
    {{ return(adapter.dispatch("not_materialized", "podcast")()) }}
{%- endmacro %}

{% macro duckdb__not_materialized() -%}
    not materialized
{%- endmacro %}

{% macro spark__not_materialized() -%}
{%- endmacro %}
