{#-
    What counts as listening. These rules stand here and nowhere else; the models and their descriptions use their names.

    What the seconds of an event measure is not given with the events: they may be those since the event before, those of
    the listen so far, or a position in the episode. So they are a claim. Of one listen the greatest counts, which is right
    or too small under each of the three, while a sum of a play and its completion would count the same seconds twice.
-#}

{#- When an event's activity ends: a play goes on for its duration; a completion is told when it happens, as are the others. -#}
{% macro event_end(event_type, event_at, duration) -%}
    case when {{ event_type }} = 'play' then {{ add_seconds(event_at, duration) }} else {{ event_at }} end
{%- endmacro %}

{#- Whether a claim reaches so many per cent of a length, in whole numbers; false where the length is unknown or 0. -#}
{% macro reaches_percent(claim, length, percent) -%}
    coalesce({{ length }} > 0 and 100 * cast({{ claim }} as bigint) >= {{ percent }} * cast({{ length }} as bigint), false)
{%- endmacro %}

{#-
    A valid listen: `valid_listen_seconds`, or 95 % of an episode that is shorter than that. Streaming services and the
    industry's guidelines for measuring podcasts (IAB Tech Lab, version 2) count from 60 seconds.
-#}
{% macro is_valid_listen(claim, length) -%}
    case
        when {{ length }} > 0 and {{ length }} < {{ var("valid_listen_seconds") }} then {{ reaches_percent(claim, length, qualified_percent()) }}
        else {{ claim }} >= {{ var("valid_listen_seconds") }}
    end
{%- endmacro %}

{#- An engaged listen: 20 minutes or 40 % of the episode in one session, as Apple Podcasts Connect defines engaged listeners. -#}
{% macro is_engaged_listen(claim, length) -%}
    ({{ claim }} >= 1200 or {{ reaches_percent(claim, length, 40) }})
{%- endmacro %}

{#- Per cent of an episode that make its claimed completion a qualified one: the rest is credits. -#}
{% macro qualified_percent() -%}
    95
{%- endmacro %}

{#- A mean of numbers that are exact to 15 digits: a sum of doubles depends on the order of its rows, which no two histories share. -#}
{% macro exact_mean(number) -%}
    {{ exact_sum(number) }} / nullif(count({{ number }}), 0)
{%- endmacro %}

{#- A fraction, or 1 where it is greater; null stays null, which the engines' own least() does not all keep. -#}
{% macro capped(fraction) -%}
    case when {{ fraction }} > 1 then 1 else {{ fraction }} end
{%- endmacro %}

{#- A share, null where there is nothing to have a share of. -#}
{% macro share_of(part, whole) -%}
    cast({{ part }} as double) / nullif({{ whole }}, 0)
{%- endmacro %}

{#-
    A select of `start_date` and `end_date` (exclusive) of what has been seen: from the day of the oldest fact to the day after
    the newest, or to `analysis_end_date` if that is earlier. A window that ends later is not over, and has no answer yet.
-#}
{% macro seen_until(facts) -%}
    {%- set newest = add_days("max(event_date)", 1) -%}
    select
        min(event_date) as start_date,
        {%- if var("analysis_end_date") %}
        case
            when {{ newest }} > cast('{{ var("analysis_end_date") }}' as date) then cast('{{ var("analysis_end_date") }}' as date)
            else {{ newest }}
        end as end_date
        {%- else %}
        {{ newest }} as end_date
        {%- endif %}
    from {{ facts }}
{%- endmacro %}
