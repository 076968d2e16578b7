-- grain: one episode, at most ten
with

dim_episodes as (

    select * from {{ ref("dim_episodes") }}

),

analysis_window as (

    {% if var("analysis_end_date") %}
    select cast('{{ var("analysis_end_date") }}' as date) as end_date
    {% else %}
    select {{ add_days("max(event_date)", 1) }} as end_date
    from {{ ref("fact_user_interactions") }}
    {% endif %}

),

completions as (

    select
        facts.episode_id,
        count(*) as completion_count
    from {{ ref("fact_user_interactions") }} as facts
    where facts.event_type = 'complete'
        -- as single values, by which engines pass over the days before
        and facts.event_date >= (select {{ add_days("end_date", "-" ~ var("window_days")) }} from analysis_window)
        and facts.event_date < (select end_date from analysis_window)
    group by facts.episode_id

),

ranked as (

    select
        *,
        row_number() over (order by completion_count desc, episode_id asc) as place
    from completions

)

select
    ranked.episode_id,
    dim_episodes.title,
    dim_episodes.podcast_id,
    ranked.completion_count
from ranked
inner join dim_episodes
    on ranked.episode_id = dim_episodes.episode_id
where ranked.place <= 10
order by ranked.place
