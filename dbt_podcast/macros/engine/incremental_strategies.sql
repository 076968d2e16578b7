{#-
    How a run replaces what its batches touch, and nothing else. dbt finds a strategy by the name
    get_incremental_<strategy>_sql; an engine that cannot delete rows is told by the same conditions which ones stay.
-#}

{#- The condition on which a row of the table, called `held`, leaves by a strategy; none where all stay. -#}
{% macro leaves_by(strategy, unique_key) -%}
    {%- set conditions = {
        "append": none,
        "replace_pending_batches": leaves_with_pending_batches,
        "replace_touched_keys": leaves_with_touched_keys,
        "replace_published_versions": leaves_with_published_versions,
        "replace_touched_listening": leaves_with_touched_listening,
    } -%}
    {{ return(conditions[strategy](unique_key) if conditions[strategy] else none) }}
{%- endmacro %}

{#- Of several tables, by relation: for whoever has a copy of them, and brings that up to date. -#}
{% macro leaving_rows(tables) -%}
    {%- set found = {} -%}
    {%- for relation, how in tables.items() -%}
        {%- do found.update({relation: leaves_by(how["strategy"], how["unique_key"])}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{#- Rows of the batches this run works on leave, whatever has become of the batch; the model gives those that stay. -#}
{% macro leaves_with_pending_batches(_unique_key=none) -%}
    held.batch_id in (select batch_id from {{ ref("pending_batches") }})
{%- endmacro %}

{#- Rows of the keys this run's batches touch leave; the model gives the rows that hold these keys now. -#}
{% macro leaves_with_touched_keys(_unique_key=none) -%}
    {{ is_touched("held.key_hash", "held.timestamp") }}
{%- endmacro %}

{#- Rows of versions of the reference data that are published leave; the model gives those of the newest. -#}
{% macro leaves_with_published_versions(_unique_key=none) -%}
    held.seen_at not in (select seen_at from {{ source("ops", "reference_versions") }} where pending)
{%- endmacro %}

{#-
    Rows of what this run may have changed leave, found by the columns of unique_key in touched_listening; the model gives
    the rows that are there now. The key is that of the replacement, which can be coarser than the grain.
-#}
{% macro leaves_with_touched_listening(unique_key) -%}
    exists (
        select 1
        from {{ ref("touched_listening") }} as touched
        where {% for column in unique_key -%}
            touched.{{ column }} = held.{{ column }}{{ " and " if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{% macro get_incremental_replace_pending_batches_sql(arg_dict) -%}
    {{ _replace_rows(arg_dict, leaves_with_pending_batches()) }}
{%- endmacro %}

{% macro get_incremental_replace_touched_keys_sql(arg_dict) -%}
    {{ _replace_rows(arg_dict, leaves_with_touched_keys()) }}
{%- endmacro %}

{% macro get_incremental_replace_published_versions_sql(arg_dict) -%}
    {{ _replace_rows(arg_dict, leaves_with_published_versions()) }}
{%- endmacro %}

{% macro get_incremental_replace_touched_listening_sql(arg_dict) -%}
    {{ _replace_rows(arg_dict, leaves_with_touched_listening(arg_dict["unique_key"])) }}
{%- endmacro %}

{% macro _replace_rows(arg_dict, leaves) -%}
    {{ return(adapter.dispatch("replace_rows", "podcast")(arg_dict, leaves)) }}
{%- endmacro %}

{% macro default__replace_rows(arg_dict, leaves) -%}
    {%- set columns = arg_dict["dest_columns"] | map(attribute="quoted") | join(", ") -%}
    delete from {{ arg_dict["target_relation"] }} as held
    where {{ leaves }};
    insert into {{ arg_dict["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }}
{%- endmacro %}
