-- grain: one episode
{{ config(
    materialized="incremental",
    incremental_strategy="replace_touched_listening",
    unique_key=["episode_id"],
    on_schema_change="append_new_columns",
) }}
-- depends_on: {{ ref("touched_listening") }}
{% set percents = [10, 25, 50, 75, 95] %}

with

dim_episodes as (

    select dim_episodes.*
    from {{ ref("dim_episodes") }} as dim_episodes
    {% if is_incremental() %}
    {{ of_touched_listening("dim_episodes", ["episode_id"]) }}
    {% endif %}

),

listens as (

    select listens.*
    from {{ ref("fact_listens") }} as listens
    {% if is_incremental() %}
    {{ of_touched_listening("listens", ["episode_id"]) }}
    {% endif %}

),

episodes as (

    select
        episode_id,
        count(*) as listens,
        count(listen_fraction) as listens_of_known_length,
        count(case when episode_seconds is null then 1 end) as listens_of_unknown_length,
        count(case when episode_seconds <= 0 then 1 end) as listens_of_zero_length,
        count(case when is_completed then 1 end) as completions,
        count(case when is_completion_qualified then 1 end) as qualified_completions,
        count(case when is_overlong then 1 end) as overlong_listens,
        count(case when is_completion_without_play then 1 end) as completions_without_play,
        {%- for percent in percents %}
        sum(
            case when {{ reaches_percent("furthest_claim_seconds", "episode_seconds", percent) }} then 1 else 0 end
        ) as reaching_{{ percent }},
        {%- endfor %}
        {{ exact_mean("listen_fraction") }} as mean_fraction,
        {{ exact_mean(capped("listen_fraction")) }} as mean_fraction_capped,
        {{ median("listen_fraction") }} as median_fraction,
        {{ median(capped("listen_fraction")) }} as median_fraction_capped
    from listens
    group by episode_id

)

select
    dim_episodes.episode_id,

    coalesce(episodes.listens, 0) as listens,
    coalesce(episodes.listens_of_known_length, 0) as listens_of_known_length,
    coalesce(episodes.listens_of_unknown_length, 0) as listens_of_unknown_length,
    coalesce(episodes.listens_of_zero_length, 0) as listens_of_zero_length,
    coalesce(episodes.completions, 0) as completions,
    coalesce(episodes.qualified_completions, 0) as qualified_completions,
    coalesce(episodes.overlong_listens, 0) as overlong_listens,
    coalesce(episodes.completions_without_play, 0) as completions_without_play,
    {{ share_of("episodes.completions", "episodes.listens") }} as completion_share,
    {{ share_of("episodes.qualified_completions", "episodes.listens_of_known_length") }} as qualified_completion_share,
    {%- for percent in percents %}
    {{ share_of("episodes.reaching_" ~ percent, "episodes.listens_of_known_length") }} as share_reaching_{{ percent }},
    {%- endfor %}
    episodes.mean_fraction,
    episodes.mean_fraction_capped,
    episodes.median_fraction,
    episodes.median_fraction_capped
from dim_episodes
left join episodes
    on dim_episodes.episode_id = episodes.episode_id
