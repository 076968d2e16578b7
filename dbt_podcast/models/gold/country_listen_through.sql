-- grain: one country, and one row for all users without one
with

dim_users as (

    select
        user_id,
        case when {{ trim_unicode("country") }} <> '' then country else '(unknown)' end as country,
        not coalesce({{ trim_unicode("country") }} <> '', false) as is_unknown
    from {{ ref("dim_users") }}

),

dim_episodes as (

    select * from {{ ref("dim_episodes") }}

),

completions as (

    select
        dim_users.country,
        dim_users.is_unknown,
        cast(facts.duration as double) / dim_episodes.duration_seconds as listen_through_rate
    from {{ ref("fact_user_interactions") }} as facts
    inner join dim_users
        on facts.user_id = dim_users.user_id
    inner join dim_episodes
        on facts.episode_id = dim_episodes.episode_id
    where facts.event_type = 'complete'
        and dim_episodes.duration_seconds > 0

),

by_completion as (

    select
        country,
        is_unknown,
        count(*) as completion_count,
        {{ exact_mean("listen_through_rate") }} as avg_listen_through_rate,
        {{ exact_mean(capped("listen_through_rate")) }} as avg_listen_through_rate_capped
    from completions
    group by country, is_unknown

),

by_listen as (

    select
        dim_users.country,
        dim_users.is_unknown,
        count(*) as listens,
        {{ exact_mean("listens.listen_fraction") }} as avg_fraction_per_listen,
        {{ exact_mean(capped("listens.listen_fraction")) }} as avg_fraction_per_listen_capped
    from {{ ref("fact_listens") }} as listens
    inner join dim_users
        on listens.user_id = dim_users.user_id
    where listens.listen_fraction is not null
    group by dim_users.country, dim_users.is_unknown

)

select
    coalesce(by_completion.country, by_listen.country) as country,

    coalesce(by_completion.completion_count, 0) as completion_count,
    by_completion.avg_listen_through_rate,
    by_completion.avg_listen_through_rate_capped,
    coalesce(by_listen.listens, 0) as listens,
    by_listen.avg_fraction_per_listen,
    by_listen.avg_fraction_per_listen_capped,

    coalesce(by_completion.is_unknown, by_listen.is_unknown) as is_unknown
from by_completion
full outer join by_listen
    on by_completion.country = by_listen.country
    and by_completion.is_unknown = by_listen.is_unknown
