{#-
    What to select the reference data `name` (users, episodes) from: the files that a variable of the environment
    describes (form, paths, columns of CSV, id), as each run has it; for dbt alone, its seed.
-#}
{% macro reference_rows(name) -%}
    {%- set seed = ref(name) -%}
    {%- set files = fromjson(env_var("DBT_PODCAST_" ~ name | upper ~ "_FILES", "null")) -%}
    {{ return(read_files(files) if files else seed) }}
{%- endmacro %}


{#- The rows of files, for which every path is a pattern, with their ids trimmed. -#}
{% macro read_files(files) -%}
    {{ return(adapter.dispatch("read_files", "podcast")(files)) }}
{%- endmacro %}

{% macro duckdb__read_files(files) -%}
    {%- set paths -%}
    [{% for path in files.paths %}'{{ path | replace("'", "''") }}'{{ ", " if not loop.last }}{% endfor %}]
    {%- endset -%}
    (
        select * replace ({{ _trimmed_id(files.id) }} as {{ files.id }})
        {% if files.form == "parquet" -%}
        from read_parquet({{ paths }}, union_by_name = true, hive_partitioning = false)
        {%- else -%}
        from read_csv(
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
        {%- endif %}
    )
{%- endmacro %}

{#- On Spark the reference data are carried into the tables of the seeds; files it is not given. -#}
{% macro spark__read_files(files) -%}
    {{ exceptions.raise_compiler_error("Spark reads reference data from the tables bronze.users and bronze.episodes, not from files") if execute }}
{%- endmacro %}

{#- Trimming looks at every character; most ids need none, as their ends are plain ones. -#}
{% macro _trimmed_id(id) -%}
    {%- set text = "cast(" ~ id ~ " as varchar)" -%}
    case
        when {{ text }}[1] between '!' and '~' and {{ text }}[-1] between '!' and '~' then {{ text }}
        else {{ trim_unicode(text) }}
    end
{%- endmacro %}


{#-
    The rows of a seed, for dbt alone. The adapter's own macro has the engine guess quotes from the first 20,480 rows.
    Here as there, an empty value is null.
-#}
{% macro duckdb__load_csv_rows(model, agate_table) -%}
    {%- set path = adapter.get_seed_file_path(model) -%}
    {%- set sql -%}
    copy {{ this.render() }} from '{{ path | replace("'", "''") }}' (
        format csv,
        header true,
        auto_detect false,
        delimiter ',',
        quote '"',
        escape '"',
        nullstr ''
    )
    {%- endset -%}
    {%- do adapter.add_query(sql, abridge_sql_log=True) -%}
    {{ return(sql) }}
{%- endmacro %}


{#- The time of a snapshot: not the clock's, but when the newest version of the reference data was seen. -#}
{% macro duckdb__snapshot_get_time() -%}
    (select max(seen_at) from {{ source("ops", "reference_versions") }})
{%- endmacro %}

{% macro spark__snapshot_get_time() -%}
    (select max(seen_at) from {{ source("ops", "reference_versions") }})
{%- endmacro %}
