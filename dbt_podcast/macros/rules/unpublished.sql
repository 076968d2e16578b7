{#-
    What a run changes is noted in the transaction that changes it, until a run has published it: publishing writes these
    rows only, and all rows where a note says that a whole table was made.
-#}

{#- Before a model is built: whether that makes it anew (no strategy), or by which strategy and key it replaces rows. -#}
{% macro note_unpublished_model() -%}
    {%- set replaces = is_incremental() -%}
    insert into {{ _notes("models") }} values (
        '{{ this.schema }}.{{ this.identifier }}',
        {{ "'" ~ config.get("incremental_strategy") ~ "'" if replaces else "null" }},
        {{ "'" ~ (config.get("unique_key") or []) | join(",") ~ "'" if replaces else "null" }}
    )
{%- endmacro %}

{#- After touched_keys or touched_listening is built: its rows, or that all rows there are may have changed. -#}
{% macro note_unpublished_rows(kind, columns) -%}
    {%- if is_everything_touched() -%}
    insert into {{ _notes("models") }} values (null, null, null)
    {%- else -%}
    insert into {{ _notes(kind) }} select distinct {{ columns | join(", ") }} from {{ this }}
    {%- endif -%}
{%- endmacro %}

{#- Not a source: what models write beside themselves is nothing that they are made of. -#}
{% macro _notes(kind) -%}
    {{ api.Relation.create(database=target.get("database"), schema="ops", identifier="unpublished_" ~ kind) }}
{%- endmacro %}
