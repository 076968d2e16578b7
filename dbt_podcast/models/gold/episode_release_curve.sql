-- grain: one episode with a release date, and 1, 3, 7, 30 or 60 days since its release
with

seen as (

    {{ seen_until(ref("fact_user_interactions")) }}

),

windows as (

    {% for days in [1, 3, 7, 30, 60] %}
    {{ "union all" if not loop.first }}
    select {{ days }} as days_since_release
    {% endfor %}

),

episodes as (

    select
        dim_episodes.episode_id,
        dim_episodes.podcast_id,
        windows.days_since_release,
        dim_episodes.release_date,
        {{ add_days("dim_episodes.release_date", "windows.days_since_release") }} as window_ends_on
    from {{ ref("dim_episodes") }} as dim_episodes
    cross join windows
    where dim_episodes.release_date is not null

),

days as (

    select episode_daily.*
    from {{ ref("episode_daily") }} as episode_daily
    cross join seen
    where episode_daily.event_date < seen.end_date

),

counted as (

    select
        episodes.episode_id,
        episodes.days_since_release,
        sum(case when days.event_date < episodes.window_ends_on then days.new_listeners end) as listeners,
        sum(case when days.event_date < episodes.release_date then days.new_listeners end) as listeners_before_release,
        count(case when days.event_date < episodes.release_date then days.listens end) as days_before_release
    from episodes
    left join days
        on episodes.episode_id = days.episode_id
    group by episodes.episode_id, episodes.days_since_release

),

curves as (

    select
        episodes.*,
        -- of a window that was over before the data begin nothing was seen
        case
            when episodes.window_ends_on <= seen.end_date and episodes.window_ends_on > seen.start_date
                then cast(coalesce(counted.listeners, 0) as bigint)
        end as listeners,
        cast(coalesce(counted.listeners_before_release, 0) as bigint) as listeners_before_release,
        counted.days_before_release > 0 as has_listens_before_release,
        coalesce(episodes.window_ends_on <= seen.end_date, false) as is_window_over,
        coalesce(episodes.release_date < seen.start_date, false) as is_released_before_data
    from episodes
    inner join counted
        on episodes.episode_id = counted.episode_id
        and episodes.days_since_release = counted.days_since_release
    cross join seen

),

-- episodes whose first listeners nobody saw would make every later one look good
shows as (

    select
        podcast_id,
        days_since_release,
        cast({{ median("listeners") }} as double) as median_listeners
    from curves
    where podcast_id is not null
        and not is_released_before_data
    group by podcast_id, days_since_release

)

select
    curves.episode_id,
    curves.podcast_id,

    curves.days_since_release,
    curves.listeners,
    shows.median_listeners as show_median_listeners,
    {{ share_of("curves.listeners", "shows.median_listeners") }} as ratio_to_show_median,
    curves.listeners_before_release,

    curves.has_listens_before_release,
    curves.is_window_over,
    curves.is_released_before_data,

    curves.release_date,
    curves.window_ends_on
from curves
left join shows
    on curves.podcast_id = shows.podcast_id
    and curves.days_since_release = shows.days_since_release
