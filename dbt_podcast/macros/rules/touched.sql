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
