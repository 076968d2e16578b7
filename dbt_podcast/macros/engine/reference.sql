{#-
    What to select the reference data `name` (users, episodes) from: its seed, or the files that a variable of the
    environment describes (form, paths, columns of CSV), where it is too much for a seed.
-#}
{% macro reference_rows(name) -%}
    {%- set seed = ref(name) -%}
    {%- set files = fromjson(env_var("DBT_PODCAST_" ~ name | upper ~ "_FILES", "null")) -%}
    {{ return(read_files(files) if files else seed) }}
{%- endmacro %}


{#- The rows of files, for which every path is a pattern. -#}
{% macro read_files(files) -%}
    {{ return(adapter.dispatch("read_files", "podcast")(files)) }}
{%- endmacro %}

{% macro duckdb__read_files(files) -%}
    {%- set paths -%}
    [{% for path in files.paths %}'{{ path | replace("'", "''") }}'{{ ", " if not loop.last }}{% endfor %}]
    {%- endset -%}
    {%- if files.form == "parquet" -%}
    read_parquet({{ paths }}, union_by_name = true, hive_partitioning = false)
    {%- else -%}
    read_csv(
        {{ paths }},
        columns = { {%- for name in files.columns %}'{{ name | replace("'", "''") }}': 'varchar'{{ ", " if not loop.last }}{% endfor -%} },
        header = true,
        auto_detect = false,
        delim = ',',
        quote = '"',
        escape = '"',
        strict_mode = true,
        hive_partitioning = false
    )
    {%- endif -%}
{%- endmacro %}


{#- The time of a snapshot: not the clock's, but when the newest version of the reference data was seen. -#}
{% macro duckdb__snapshot_get_time() -%}
    (select max(seen_at) from {{ source("ops", "reference_versions") }})
{%- endmacro %}
