{#-
    What Snowflake writes differently, one macro for each of functions.sql and its neighbours.

    By its documentation: `regexp_like` matches the whole text, and groups are always captured ones; a division of whole
    numbers is cut to six places, so that shares are of doubles; what fails on a text is asked by `try_`, since a condition
    around it does not keep Snowflake from working it out.
-#}

{% macro snowflake__trim_unicode(text) -%}
    {%- set code_points = [9, 10, 11, 12, 13, 32, 133, 160, 5760] + range(8192, 8203) | list + [8232, 8233, 8239, 8287, 12288] -%}
    trim({{ text }}, {% for code_point in code_points %}chr({{ code_point }}){{ " || " if not loop.last }}{% endfor %})
{%- endmacro %}

{% macro snowflake__matches(text, pattern) -%}
    regexp_like({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro snowflake__array_of_present(expressions) -%}
    array_construct_compact(
        {{ expressions | join(",\n        ") }}
    )
{%- endmacro %}

{% macro snowflake__array_contains(array, element) -%}
    array_contains(to_variant({{ element }}), {{ array }})
{%- endmacro %}

{% macro snowflake__array_length(array) -%}
    array_size({{ array }})
{%- endmacro %}

{% macro snowflake__hash_text(text) -%}
    md5({{ text }})
{%- endmacro %}

{#- The same bits as on DuckDB, which reads the last eight bytes from the last to the first: md5_number_lower64 does not. -#}
{% macro snowflake__hash_number(text) -%}
    {%- set digits = "md5(" ~ text ~ ")" -%}
    to_number({% for at in range(31, 16, -2) %}substr({{ digits }}, {{ at }}, 2){{ " || " if not loop.last }}{% endfor %}, 'XXXXXXXXXXXXXXXX')
{%- endmacro %}

{% macro snowflake__epoch_microseconds(timestamp) -%}
    date_part(epoch_microsecond, {{ timestamp }})
{%- endmacro %}

{% macro snowflake__add_minutes(timestamp, minutes) -%}
    dateadd(minute, {{ minutes }}, {{ timestamp }})
{%- endmacro %}

{% macro snowflake__add_days(date, days) -%}
    cast(dateadd(day, {{ days }}, {{ date }}) as date)
{%- endmacro %}

{% macro snowflake__add_seconds(timestamp, seconds) -%}
    dateadd(second, {{ seconds }}, {{ timestamp }})
{%- endmacro %}

{#- Not date_trunc, whose weeks begin as a parameter of the account says. -#}
{% macro snowflake__week_start(date) -%}
    cast(dateadd(day, 1 - dayofweekiso({{ date }}), {{ date }}) as date)
{%- endmacro %}

{% macro snowflake__iso_week(date) -%}
    cast(weekiso({{ date }}) as integer)
{%- endmacro %}

{% macro snowflake__day_of_week(date) -%}
    cast(dayofweekiso({{ date }}) as integer)
{%- endmacro %}

{% macro snowflake__days_between(from_date, to_date) -%}
    datediff(day, {{ from_date }}, {{ to_date }})
{%- endmacro %}

{% macro snowflake__days_of_years(relation, first_date, last_date) -%}
    select cast(dateadd(day, cast(numbers.value as integer), date_trunc('year', {{ relation }}.{{ first_date }})) as date) as date_day
    from {{ relation }},
        lateral flatten(input => array_generate_range(
            0,
            datediff(
                day,
                date_trunc('year', {{ relation }}.{{ first_date }}),
                dateadd(year, 1, date_trunc('year', {{ relation }}.{{ last_date }}))
            )
        )) as numbers
{%- endmacro %}

{#- Its whole numbers have up to 38 digits: the limit of 64 bits is drawn by the digits themselves. -#}
{% macro snowflake__whole_number(text) -%}
    {%- set digits = "ltrim(split_part(" ~ text ~ ", '.', 1), '+-0')" -%}
    try_cast(
        case when {{ text }} like '-%' then '-' else '' end
        || case
            when length({{ digits }}) > 19 or (length({{ digits }}) = 19 and {{ digits }} > '9223372036854775807')
                then '999999999999999999'
            when {{ digits }} = '' then '0'
            else {{ digits }}
        end
        as bigint
    )
{%- endmacro %}

{% macro snowflake__median(number) -%}
    median(cast({{ number }} as double))
{%- endmacro %}

{% macro snowflake__exact_sum(number) -%}
    cast(sum(cast({{ number }} as number(38, 15))) as double)
{%- endmacro %}

{% macro snowflake__joined_texts(text, order_by) -%}
    listagg({{ text }}, ', ') within group (order by {{ order_by }})
{%- endmacro %}

{% macro snowflake__without_digits(text) -%}
    regexp_replace({{ text }}, '[0-9]+', '#')
{%- endmacro %}

{#- `d` takes an object that has a key twice, which is an error otherwise. -#}
{% macro snowflake__object_keys(relation, columns, text) -%}
    select
        {{ relation }}.{{ columns | join(",\n        " ~ relation ~ ".") }},
        fields.key
    from {{ relation }},
        lateral flatten(input => try_parse_json({{ relation }}.{{ text }}, 'd')) as fields
{%- endmacro %}

{% macro snowflake__text_type() -%}
    varchar
{%- endmacro %}

{% macro snowflake__shared_part() -%}
    {{ return("ephemeral") }}
{%- endmacro %}

{% macro snowflake__all_but(relation, column) -%}
    {{ relation }}.* exclude ({{ column }})
{%- endmacro %}


{#-
    An instant that an offset would move out of the years 1 to 9999, which is as far as times go, stays where it is: it is too
    early or in the future with and without.
-#}
{% macro snowflake__parse_event_timestamp(text) -%}
    {%- set date = "[0-9]{4}-[0-9]{2}-[0-9]{2}" -%}
    {%- set time = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]+)?)?" -%}
    {%- set offset = "(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?" -%}
    case
        when {{ matches(text, date ~ "[T ]" ~ time ~ offset) }} and left({{ text }}, 4) <> '0000' then
            dateadd(
                minute,
                case
                    when left({{ text }}, 4) between '0002' and '9998' then -({{ _snowflake_offset_minutes("substr(" ~ text ~ ", 17)") }})
                    else 0
                end,
                try_to_timestamp_ntz(
                    left({{ text }}, 10) || ' ' || substr({{ text }}, 12, 5)
                    || case when substr({{ text }}, 17, 1) = ':' then substr({{ text }}, 17, 3) else ':00' end
                    || '.' || rpad(coalesce(regexp_substr({{ text }}, '[.,]([0-9]{1,6})', 1, 1, 'e', 1), ''), 6, '0'),
                    'YYYY-MM-DD HH24:MI:SS.FF6'
                )
            )
    end
{%- endmacro %}

{#- Minutes of an offset at the end of a text: +hh:mm, +hhmm or +hh; 0 where there is none. -#}
{% macro _snowflake_offset_minutes(text) -%}
    {%- set parts = [] -%}
    {%- for part in range(1, 4) -%}
        {%- do parts.append("regexp_substr(" ~ text ~ ", '([+-])([0-9]{2}):?([0-9]{2})?$', 1, 1, 'e', " ~ part ~ ")") -%}
    {%- endfor -%}
    case when {{ parts[0] }} = '-' then -1 else 1 end
        * (60 * coalesce(try_cast({{ parts[1] }} as integer), 0) + coalesce(try_cast({{ parts[2] }} as integer), 0))
{%- endmacro %}


{#- The reference data are carried into the tables of the seeds; files it is not given. -#}
{% macro snowflake__read_files(files) -%}
    {{ exceptions.raise_compiler_error("Snowflake reads reference data from the tables bronze.users and bronze.episodes, not from files") if execute }}
{%- endmacro %}

{% macro snowflake__snapshot_get_time() -%}
    (select max(seen_at) from {{ source("ops", "reference_versions") }})
{%- endmacro %}

{% macro snowflake__not_materialized() -%}
{%- endmacro %}
