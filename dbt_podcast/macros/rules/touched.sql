{#- A join that keeps the rows, of a relation with these columns, that this run may have changed. -#}
{% macro of_touched_listening(relation, columns) -%}
    inner join (
        select distinct {{ columns | join(", ") }}
        from {{ ref("touched_listening") }}
    ) as touched_listening
        on {% for column in columns -%}
            {{ relation }}.{{ column }} = touched_listening.{{ column }}{{ "\n        and " if not loop.last }}
        {%- endfor %}
{%- endmacro %}

{#-
    The condition that an event is among touched_keys: by the hash of its key and its time. An event that shares both with
    a touched one, and is another, is recomputed with it, to what it was.
-#}
{% macro is_touched(key_hash, event_at) -%}
    exists (
        select 1
        from {{ ref("touched_keys") }} as touched
        where touched.key_hash = {{ key_hash }} and touched.event_at = {{ event_at }}
    )
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
