{#-
    How a run replaces what its batches touch, and nothing else. dbt finds a strategy by the name
    get_incremental_<strategy>_sql; the deletes are portable SQL.
-#}

{#- Rows of the batches this run works on leave, whatever has become of the batch; the model gives those that stay. -#}
{% macro get_incremental_replace_pending_batches_sql(arg_dict) -%}
    delete from {{ arg_dict["target_relation"] }}
    where batch_id in (select batch_id from {{ ref("pending_batches") }});
    {{ _insert_new_rows(arg_dict) }}
{%- endmacro %}

{#- Rows of the keys this run's batches touch leave; the model gives the rows that hold these keys now. -#}
{% macro get_incremental_replace_touched_keys_sql(arg_dict) -%}
    delete from {{ arg_dict["target_relation"] }} as held
    where {{ is_touched("held.key_hash", 'held."timestamp"') }};
    {{ _insert_new_rows(arg_dict) }}
{%- endmacro %}

{#- Rows of versions of the reference data that are published leave; the model gives those of the newest. -#}
{% macro get_incremental_replace_published_versions_sql(arg_dict) -%}
    delete from {{ arg_dict["target_relation"] }}
    where seen_at not in (select seen_at from {{ source("ops", "reference_versions") }} where pending);
    {{ _insert_new_rows(arg_dict) }}
{%- endmacro %}

{#-
    Rows of what this run may have changed leave, found by the columns of unique_key in touched_listening; the model gives
    the rows that are there now. The key is that of the replacement, which can be coarser than the grain.
-#}
{% macro get_incremental_replace_touched_listening_sql(arg_dict) -%}
    delete from {{ arg_dict["target_relation"] }} as held
    where exists (
        select 1
        from {{ ref("touched_listening") }} as touched
        where {% for column in arg_dict["unique_key"] -%}
            touched.{{ column }} = held.{{ column }}{{ " and " if not loop.last }}
        {%- endfor %}
    );
    {{ _insert_new_rows(arg_dict) }}
{%- endmacro %}

{% macro _insert_new_rows(arg_dict) -%}
    {%- set columns = arg_dict["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{%- endmacro %}
