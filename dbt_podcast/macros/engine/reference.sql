{#- What to select the reference data `name` (users, episodes) from: the seed. -#}
{% macro reference_rows(name) -%}
    {{ return(ref(name)) }}
{%- endmacro %}


{#- The time of a snapshot: not the clock's, but when the newest version of the reference data was seen. -#}
{% macro duckdb__snapshot_get_time() -%}
    (select max(seen_at) from {{ source("ops", "reference_versions") }})
{%- endmacro %}
