{#-
    A join that keeps the rows, of a relation with these columns, that this run may have changed. The first column is
    looked up by itself too, which engines do before they read the others.
-#}
{% macro of_touched_listening(relation, columns) -%}
    inner join (
        select distinct {{ columns | join(", ") }}
        from {{ ref("touched_listening") }}
    ) as touched_listening
        on {% for column in columns -%}
            {{ relation }}.{{ column }} = touched_listening.{{ column }}{{ "\n        and " if not loop.last }}
        {%- endfor %}
        {%- if columns | length > 1 %}
        and {{ relation }}.{{ columns[0] }} in (select {{ columns[0] }} from {{ ref("touched_listening") }})
        {%- endif %}
{%- endmacro %}

{#-
    The condition that an event is among touched_keys: by the hash of its key and by its time. An event that shares these
    with touched ones, and is another, is recomputed with them, to what it was. Each is looked up by itself: so an engine
    can pass over the rest of a row, and over times that no event of this run has.
-#}
{% macro is_touched(key_hash, event_at) -%}
    ({{ key_hash }} in (select key_hash from {{ ref("touched_keys") }})
    and {{ event_at }} in (select event_at from {{ ref("touched_keys") }}))
{%- endmacro %}

{#-
    Whether this run works on every accepted batch, as the first one does and a full refresh: then all events are touched,
    and there is nothing to look up.
-#}
{% macro is_everything_touched() -%}
    {%- set accepted_batches = ref("accepted_batches") -%}
    {%- if not execute -%}{{ return(false) }}{%- endif -%}
    {%- set others = run_query("select count(*) from " ~ accepted_batches ~ " where not pending") -%}
    {{ return(others.columns[0].values()[0] == 0) }}
{%- endmacro %}

{#-
    Whether there is a table of those whose rows are replaced by this strategy. As long as there is none, they are made of
    all rows, and nothing needs to be known of the rows that are touched.
-#}
{% macro has_tables_replaced_by(strategy) -%}
    {%- if not execute -%}{{ return(true) }}{%- endif -%}
    {%- for node in graph.nodes.values() if node.config.get("incremental_strategy") == strategy -%}
        {%- set table = api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias) -%}
        {%- if load_relation(table) -%}{{ return(true) }}{%- endif -%}
    {%- endfor -%}
    {{ return(false) }}
{%- endmacro %}
