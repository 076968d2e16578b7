{#- How tables come about on Snowflake: sessions, contracts, and rows that are replaced. -#}

{#-
    The session as the models are written for it, and each statement named by its model in the history of queries. dbt calls
    this before every model, snapshot and test.
-#}
{% macro snowflake__set_query_tag() -%}
    {%- set session -%}
    alter session set
        timestamp_type_mapping = 'TIMESTAMP_NTZ'
        timezone = 'UTC'
        query_tag = '{{ [target.get("query_tag") or project_name, model.name] | join("/") | replace("'", "") }}'
    {%- endset -%}
    {%- do run_query(session) -%}
{%- endmacro %}

{#- What is set stays set: the next model sets it again. -#}
{% macro snowflake__unset_query_tag(original_query_tag) -%}
{%- endmacro %}


{#- The types of contracts are as DuckDB calls them. -#}
{% macro snowflake_type(data_type) -%}
    {{ return({"ubigint": "number(20, 0)", "timestamp": "timestamp_ntz"}.get(data_type, data_type)) }}
{%- endmacro %}

{% macro snowflake__get_empty_schema_sql(columns) -%}
    select
        {%- for column in columns.values() %}
        cast(null as {{ snowflake_type(column["data_type"]) }}) as {{ column["name"] }}{{ "," if not loop.last }}
        {%- endfor %}
{%- endmacro %}

{% macro snowflake__get_table_columns_and_constraints() -%}
    (
        {%- for column in model["columns"].values() %}
        {{ column["name"] }} {{ snowflake_type(column["data_type"]) }}{{ "," if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}


{#- dbt leaves transactions to whoever needs one: what leaves and what comes are one change. -#}
{% macro snowflake__replace_rows(arg_dict, leaves) -%}
    begin;
    {{ default__replace_rows(arg_dict, leaves) }};
    commit;
{%- endmacro %}
