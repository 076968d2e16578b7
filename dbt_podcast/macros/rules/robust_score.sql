{#-
    How far a value is from what is usual, in usual distances: 0 is as usual, 6 is strange.

    The usual value is a median and the usual distance a median distance from it, which a few strange values do not
    move (1.4826 makes it comparable to a standard deviation). Where hardly anything ever changed, that distance is
    almost nothing and every change would be strange; so it is never taken for less than what chance alone does, nor for
    less than what nobody would ask about. Null where the usual value is.
-#}

{#- A count: chance moves it by its square root; nobody asks about 5 %. -#}
{% macro count_score(value, usual, deviation) -%}
    abs({{ value }} - {{ usual }}) / greatest(1.4826 * {{ deviation }}, sqrt({{ usual }}), 0.05 * {{ usual }}, 1)
{%- endmacro %}

{#- A share of `total` rows: chance moves it the more the fewer rows there are; nobody asks about a percentage point. -#}
{% macro share_score(value, usual, deviation, total) -%}
    abs({{ value }} - {{ usual }})
        / greatest(1.4826 * {{ deviation }}, sqrt({{ usual }} * (1 - {{ usual }}) / nullif({{ total }}, 0)), 0.01)
{%- endmacro %}
